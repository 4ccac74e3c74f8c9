// SPDX-License-Identifier: Apache-2.0
/*
 * The usual alternative, built to be compared with: count in TC, on the interfaces, keyed by the
 * packet's own five-tuple. Same exactness (segments counted), same map kind, same atomic adds,
 * and the time of the last packet, which such agents need to expire flows.
 */
#include "../src/flowcost/agent/bpf/kernel.h"

static u64 (*const bpf_ktime_get_ns)(void) = (void *)5;

struct map {
	u32 type, key_size, value_size, max_entries, flags;
};

struct key {
	u32 source[4], destination[4];
	u16 source_port, destination_port;
	u32 interface;
	u8 transport, direction, zero[2];
};

struct value {
	u64 bytes, packets, first, last;
};

const struct map flows SECTION("maps") = { BPF_MAP_TYPE_HASH, sizeof(struct key),
					    sizeof(struct value), 131072, 0 };

INLINE int count(struct __sk_buff *skb, u8 direction)
{
	u8 *data = (u8 *)(u64)skb->data, *end = (u8 *)(u64)skb->data_end;
	struct key key = { .interface = LOAD(skb->ifindex), .direction = direction };
	u32 offset, header, n = LOAD(skb->gso_segs);
	u64 bytes = LOAD(skb->len) - 14, now;
	struct value *found;

	if (data + 14 + 40 + 20 > end && data + 14 + 20 + 8 > end)
		return -1;
	if (skb->protocol == htons(0x0800)) {
		if (data + 14 + 20 + 8 > end)
			return -1;
		key.source[3] = *(u32 *)(data + 26);
		key.destination[3] = *(u32 *)(data + 30);
		key.source[2] = key.destination[2] = 0xffff0000;
		key.transport = data[23];
		offset = 34;
	} else if (skb->protocol == htons(0x86dd)) {
		if (data + 14 + 40 + 8 > end)
			return -1;
		__builtin_memcpy(key.source, data + 22, 16);
		__builtin_memcpy(key.destination, data + 38, 16);
		key.transport = data[20];
		offset = 54;
	} else {
		return -1;
	}
	key.source_port = *(u16 *)(data + offset);
	key.destination_port = *(u16 *)(data + offset + 2);
	if (n > 1) {
		header = offset - 14 + 8;
		if (key.transport == 6) {
			if (data + offset + 20 > end)
				return -1;
			header = offset - 14 + (data[offset + 12] >> 4) * 4;
		}
		bytes += (u64)(n - 1) * header;
	} else {
		n = 1;
	}
	now = bpf_ktime_get_ns();
	found = bpf_map_lookup_elem(&flows, &key);
	if (found) {
		__sync_fetch_and_add(&found->bytes, bytes);
		__sync_fetch_and_add(&found->packets, n);
		found->last = now;
	} else {
		struct value first = { bytes, n, now, now };

		bpf_map_update_elem((void *)&flows, &key, &first, BPF_NOEXIST);
	}
	return -1; /* TCX_NEXT */
}

SECTION("tcx/egress") int egress(struct __sk_buff *skb)
{
	return count(skb, 1);
}

SECTION("tcx/ingress") int ingress(struct __sk_buff *skb)
{
	return count(skb, 0);
}
