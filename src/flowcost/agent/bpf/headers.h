/* SPDX-License-Identifier: Apache-2.0 */
/* What a packet's headers say: where they end, whose they are, and how many packets the wire sees.
 * Included once, by flow.bpf.c, behind what it uses from there (`mtu`, `amount`, transports). */

/* Where the transport header starts and which it is; hop-by-hop, routing, destination and
 * authentication headers of IPv6 are skipped. A later fragment has no transport header. */
struct place {
	u32 offset;
	u8 transport, first, jumbo, zero;
	u32 source[4], destination[4]; /* IPv4: the first word */
};

APART int find_transport(const struct __sk_buff *skb, struct place *at)
{
	u32 words[10] = {};
	u8 *head = (u8 *)words;

	__builtin_memset(at, 0, sizeof(*at)); /* without CAP_PERFMON the verifier wants all of it set */
	at->first = 1;
	if (skb->protocol == htons(IP)) {
		if (bpf_skb_load_bytes(skb, 0, words, 20))
			return 0;
		at->source[0] = words[3];
		at->destination[0] = words[4];
		at->offset = (head[0] & 15) * 4;
		at->transport = head[9];
		at->first = !((head[6] & 0x1f) | head[7]);
		return 1;
	}
	if (bpf_skb_load_bytes(skb, 0, words, 40))
		return 0;
	__builtin_memcpy(at->source, words + 2, 16);
	__builtin_memcpy(at->destination, words + 6, 16);
	at->offset = 40;
	at->transport = head[6];
	/* RFC 2675; the kernel's own super-packets over 64 KiB carry the option, the wire does not. */
	at->jumbo = !(head[4] | head[5]) && head[6] == 0;
#pragma unroll
	for (int i = 0; i < 6; i++) {
		u8 next = at->transport, extension[4];

		if (next != 0 && next != 43 && next != 60 && next != 44 && next != 51)
			return 1;
		if (bpf_skb_load_bytes(skb, at->offset, extension, 4))
			return 0;
		if (next == 44) {
			at->first = !(extension[2] | (extension[3] & 0xf8));
			at->offset += 8;
		} else if (next == 51) {
			at->offset += extension[1] * 4 + 8;
		} else {
			at->offset += extension[1] * 8 + 8;
		}
		at->transport = extension[0];
		if (!at->first)
			return 1;
	}
	return 1;
}

/* An skb that the wire carries as several packets: by segmentation offload, or as fragments. */
APART amount split(const struct __sk_buff *skb)
{
	u32 length = LOAD(skb->len), size = LOAD(skb->gso_size), header, n;
	const amount whole = AMOUNT(length, 1);
	struct place at;
	u8 tcp_offset;

	if (!find_transport(skb, &at))
		return whole;
	if (size) {
		if (at.transport == TCP) {
			if (bpf_skb_load_bytes(skb, at.offset + 12, &tcp_offset, 1))
				return whole;
			header = at.offset + (tcp_offset >> 4) * 4;
		} else {
			header = at.offset + (at.transport == SCTP ? 12 : 8);
		}
		if (header >= length)
			return whole;
		n = LOAD(skb->gso_segs);
		/* A guest's packet may come without a count. */
		if (!n)
			n = (length - header + size - 1) / size;
		if (at.jumbo) {
			header -= 8;
			length -= 8;
		}
	} else if (at.transport == TCP) {
		return whole; /* TCP fits its segments to the path, it is not fragmented */
	} else {
		/* RFC 791 and 8200: all fragments but the last carry a multiple of 8 bytes. The IPv6
		 * fragment header is in each, the first one too. */
		u32 extra = skb->protocol == htons(IP) ? 0 : 8, room;

		header = extra ? 40 : at.offset;
		room = (mtu - header - extra) & ~7u;
		if (length <= header || room == 0 || room > 65535)
			return whole;
		n = (length - header + room - 1) / room;
		header += extra;
		length += extra;
	}
	return AMOUNT(length + (n - 1) * header, n);
}
