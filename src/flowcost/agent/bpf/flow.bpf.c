// SPDX-License-Identifier: Apache-2.0
/*
 * Every packet of every socket below one cgroup, counted as the wire carries it.
 *
 * Two programs, cgroup_skb ingress and egress. The key is read from the socket where it is
 * connected, else from the packet; nothing is kept per socket. skb->data starts at the IP header
 * here, egress runs before segmentation and fragmentation and ingress after reassembly, so both
 * are computed: a packet of n segments carries its headers n times.
 *
 * Counters live in one of two hash maps of equal shape. User space points `flows4`, `flows6` and
 * `overflow` at the other one, waits for running programs (the map update does), and reads a map
 * nobody writes. An entry is therefore never deleted while it is counted into.
 *
 * Kernel 5.8 is the floor (ring buffer, CAP_BPF, bpf_sk_cgroup_id in this program type); atomic
 * adds never use their result, which needs 5.12.
 */
#include "flow.h"

enum { IP = 0x0800, IPV6 = 0x86dd };
enum { TCP = 6, UDP = 17, SCTP = 132 };
enum { STREAM = 1, DATAGRAM = 2, RAW = 3 };
enum { ESTABLISHED = 1, SYN_SENT = 2, LISTEN = 10 };
enum { LOOPBACK = 1 }; /* the index of lo in every network namespace */
enum { PASS = 1 };

/* Settings, written by the loader before the kernel freezes them: the verifier folds them. */
const volatile u32 mtu SECTION(".rodata") = 1500;
const volatile u32 service4[4][2] SECTION(".rodata") = {}; /* network, mask; mask 0 is no range */
const volatile u64 service6[2][4] SECTION(".rodata") = {}; /* the same, in two words each */

#define HASH(key, value) { BPF_MAP_TYPE_HASH, sizeof(key), sizeof(value), 1, 0 }
#define ONE_OF_TWO { BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, 0 }

const struct map flows4_a SECTION("maps") = HASH(struct key4, struct counters);
const struct map flows4_b SECTION("maps") = HASH(struct key4, struct counters);
const struct map flows6_a SECTION("maps") = HASH(struct key6, struct counters);
const struct map flows6_b SECTION("maps") = HASH(struct key6, struct counters);
const struct map overflow_a SECTION("maps") = HASH(u64, struct counters);
const struct map overflow_b SECTION("maps") = HASH(u64, struct counters);
const struct map flows4 SECTION("maps") = ONE_OF_TWO;
const struct map flows6 SECTION("maps") = ONE_OF_TWO;
const struct map overflow SECTION("maps") = ONE_OF_TWO;
/* Row 0 counts what no map had room for; row 1, in its first counter, lost DNS answers. */
const struct map lost SECTION("maps") = { BPF_MAP_TYPE_ARRAY, 4, sizeof(struct counters), 2, 0 };
/* The reader's own words, kept here because they must die with the maps: epoch, sequence, start. */
const struct map ledger SECTION("maps") = { BPF_MAP_TYPE_ARRAY, 4, 24, 1, 0 };
const struct map answers SECTION("maps") = { BPF_MAP_TYPE_RINGBUF, 0, 0, 1, 0 };

/* What a packet adds. `transmitted` is a constant in each program. */
struct packet {
	u64 bytes, packets;
	u32 handshake, transmitted;
};

INLINE void add(struct counters *to, const struct packet *p)
{
	if (p->transmitted) {
		APART_FROM_OTHER_PATHS(to);
		__sync_fetch_and_add(&to->transmitted_bytes, p->bytes);
		__sync_fetch_and_add(&to->transmitted_packets, p->packets);
		if (UNLIKELY(p->handshake)) {
			APART_FROM_OTHER_PATHS(to);
			__sync_fetch_and_add(&to->local_handshakes, 1);
		}
	} else {
		APART_FROM_OTHER_PATHS(to);
		__sync_fetch_and_add(&to->received_bytes, p->bytes);
		__sync_fetch_and_add(&to->received_packets, p->packets);
		if (UNLIKELY(p->handshake)) {
			APART_FROM_OTHER_PATHS(to);
			__sync_fetch_and_add(&to->remote_handshakes, 1);
		}
	}
}

INLINE void set(struct counters *to, const struct packet *p)
{
	__builtin_memset(to, 0, sizeof(*to));
	if (p->transmitted) {
		to->transmitted_bytes = p->bytes;
		to->transmitted_packets = p->packets;
		to->local_handshakes = p->handshake;
	} else {
		to->received_bytes = p->bytes;
		to->received_packets = p->packets;
		to->remote_handshakes = p->handshake;
	}
}

INLINE int add_or_insert(void *map, const void *key, const struct packet *p)
{
	struct counters first, *found = bpf_map_lookup_elem(map, key);

	if (UNLIKELY(!found)) {
		set(&first, p);
		if (!bpf_map_update_elem(map, key, &first, BPF_NOEXIST))
			return 1;
		/* Another CPU was faster, or the map is full. */
		found = bpf_map_lookup_elem(map, key);
		if (!found)
			return 0;
	}
	add(found, p);
	return 1;
}

APART int overflowed(u64 cgroup, const struct packet *p)
{
	u32 row = 0;
	void *map = bpf_map_lookup_elem(&overflow, &row);
	struct counters *to;

	if (map && add_or_insert(map, &cgroup, p))
		return PASS;
	to = bpf_map_lookup_elem(&lost, &row);
	if (to)
		add(to, p);
	return PASS;
}

/* The port a service listens at is of the lower class: well-known, registered, ephemeral. The
 * other one is dropped, so that connections share a row; of one class, both are kept. */
INLINE u32 class_of(u32 port)
{
	return (port >= 1024) + (port >= 32768);
}

INLINE u32 ports(u32 local, u32 remote)
{
	u32 ours = class_of(local), theirs = class_of(remote);

	if (ours > theirs)
		local = 0;
	else if (theirs > ours)
		remote = 0;
	return local | remote << 16;
}

INLINE int in_service4(u32 address)
{
#pragma unroll
	for (int i = 0; i < 4; i++)
		if (service4[i][1] && (address & service4[i][1]) == service4[i][0])
			return 1;
	return 0;
}

INLINE int in_service6(const u32 *address)
{
	u64 high = address[0] | (u64)address[1] << 32, low = address[2] | (u64)address[3] << 32;

#pragma unroll
	for (int i = 0; i < 2; i++)
		if (service6[i][2] && (high & service6[i][2]) == service6[i][0] &&
		    (low & service6[i][3]) == service6[i][1])
			return 1;
	return 0;
}

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

/* A packet that the wire carries as several: by segmentation offload, or as fragments. */
APART int split(const struct __sk_buff *skb, struct packet *p)
{
	u32 length = p->bytes, size = LOAD(skb->gso_size), header, n;
	struct place at;
	u8 tcp_offset;

	if (!find_transport(skb, &at))
		return 0;
	if (size) {
		if (at.transport == TCP) {
			if (bpf_skb_load_bytes(skb, at.offset + 12, &tcp_offset, 1))
				return 0;
			header = at.offset + (tcp_offset >> 4) * 4;
		} else {
			header = at.offset + (at.transport == SCTP ? 12 : 8);
		}
		if (header >= length)
			return 0;
		n = LOAD(skb->gso_segs);
		/* A guest's packet may come without a count. */
		if (!n)
			n = (length - header + size - 1) / size;
		if (at.jumbo) {
			header -= 8;
			length -= 8;
		}
	} else {
		/* RFC 791 and 8200: all but the last fragment carry a multiple of 8 bytes. */
		u32 again, whole, room;

		if (skb->protocol == htons(IP)) {
			whole = again = at.offset;
			room = (mtu - again) & ~7u;
		} else {
			whole = 40;
			again = 48;
			room = (mtu - again) & ~7u;
		}
		if (length <= whole || room == 0 || room > 65535)
			return 0;
		n = (length - whole + room - 1) / room;
		header = again;
		if (whole != again)
			length += 8; /* the first one is a fragment too */
	}
	p->packets = n;
	p->bytes = length + (u64)(n - 1) * header;
	return 0;
}

/* Copies `present` bytes of the message at `offset` into a record with room for `room`. */
INLINE int copy(const struct __sk_buff *skb, const struct dns_head *head, u32 offset, u32 present,
		const u32 room)
{
	struct dns_head *record = bpf_ringbuf_reserve((void *)&answers, sizeof(*head) + room, 0);

	if (!record)
		return 0;
	__builtin_memcpy(record, head, sizeof(*head));
	asm volatile("" : "+r"(present));
	if (present < 12 || present > room || bpf_skb_load_bytes(skb, offset, record + 1, present)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return 1;
	}
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 1;
}

/* Answers a resolver gave to a socket here: copied to the ring, read by the agent's own clock. */
APART int answered(const struct __sk_buff *skb, struct dns_head *head)
{
	u32 row = 1, offset, size, present;
	struct counters *dropped;
	struct place at;
	u8 dns[12], tcp_offset;

	if (!find_transport(skb, &at) || !at.first)
		return 0;
	offset = at.offset + 8;
	if (head->transport == TCP) {
		if (bpf_skb_load_bytes(skb, at.offset + 12, &tcp_offset, 1))
			return 0;
		offset = at.offset + (tcp_offset >> 4) * 4 + 2; /* RFC 1035 4.2.2: a length goes first */
	}
	if (bpf_skb_load_bytes(skb, offset, dns, 12))
		return 0;
	/* RFC 1035 4.1.1: a response, without error, with at least one answer. */
	if (!(dns[2] & 0x80) || (dns[3] & 15) || !(dns[6] | dns[7]))
		return 0;
	size = skb->len - offset;
	if (size > 65535)
		return 0;
	present = size < DNS_LARGE ? size : DNS_LARGE;
	head->size = size;
	head->present = present;
	if (present <= DNS_SMALL ? copy(skb, head, offset, present, DNS_SMALL)
				 : copy(skb, head, offset, present, DNS_LARGE))
		return 0;
	dropped = bpf_map_lookup_elem(&lost, &row);
	if (dropped)
		__sync_fetch_and_add(&dropped->received_packets, 1);
	return 0;
}

/* The ports of a packet whose socket does not say, host order: local | remote << 16; and, in bit
 * 32, whether it is a TCP handshake's first packet. */
APART u64 packet_ports(const struct __sk_buff *skb, const struct place *at, u32 transmitted)
{
	u32 source, destination;
	u64 result;
	u8 head[4], flags = 0;

	if (!at->first || (at->transport != TCP && at->transport != UDP))
		return 0;
	if (bpf_skb_load_bytes(skb, at->offset, head, 4))
		return 0;
	source = head[0] << 8 | head[1];
	destination = head[2] << 8 | head[3];
	result = transmitted ? source | destination << 16 : destination | source << 16;
	if (at->transport == TCP && !bpf_skb_load_bytes(skb, at->offset + 13, &flags, 1))
		result |= (u64)((flags & 0x12) == 0x02) << 32;
	return result;
}

INLINE int count(const struct __sk_buff *skb, const u32 transmitted)
{
	struct packet p = { .packets = 1, .transmitted = transmitted };
	u32 row = 0, state, transport, type, local_port = 0, remote_port = 0, connected;
	struct bpf_sock *sk;
	struct place at;
	u64 cgroup, pair;
	void *map;

	if (UNLIKELY(LOAD(skb->ifindex) == LOOPBACK))
		return PASS; /* never leaves the namespace */
	sk = skb->sk;
	if (UNLIKELY(!sk))
		return PASS;
	sk = bpf_sk_fullsock(sk);
	if (UNLIKELY(!sk))
		return PASS;
	type = LOAD(sk->type);
	transport = LOAD(sk->protocol);
	state = LOAD(sk->state);
	/* A control socket that sends resets is raw; a listener has its peer in the packet only. */
	connected = (type == STREAM && transport == TCP && state != LISTEN) ||
		    (type == DATAGRAM && transport == UDP && state == ESTABLISHED);
	/* A raw socket is handed copies of packets that their own socket receives as well. */
	if (!transmitted && UNLIKELY(type == RAW) && (transport == TCP || transport == UDP))
		return PASS;
	cgroup = bpf_sk_cgroup_id(sk);
	p.bytes = LOAD(skb->len);
	if (UNLIKELY(LOAD(skb->gso_size) || p.bytes > mtu))
		split(skb, &p);

	if (LIKELY(connected)) {
		local_port = LOAD(sk->src_port);
		remote_port = htons((u16)LOAD(sk->dst_port));
		p.handshake = transmitted && transport == TCP && state == SYN_SENT;
	}
	/* The kernel frees the port before it sends the reset of an abortive close. */
	if (UNLIKELY(!connected || !local_port)) {
		find_transport(skb, &at);
		pair = packet_ports(skb, &at, transmitted);
		local_port = pair & 0xffff;
		if (!connected) {
			transport = at.transport;
			remote_port = (u32)pair >> 16;
			p.handshake = pair >> 32;
		}
	}

	if (skb->protocol == htons(IP)) {
		struct key4 key;

		key.cgroup = cgroup;
		if (connected) {
			key.local = LOAD(sk->src_ip4);
			key.remote = LOAD(sk->dst_ip4);
		} else {
			key.local = transmitted ? at.source[0] : at.destination[0];
			key.remote = transmitted ? at.destination[0] : at.source[0];
		}
		key.transport = transport;
		key.zero = 0;
		if (!transmitted && UNLIKELY(remote_port == 53)) {
			struct dns_head head = { .cgroup = cgroup, .client_port = local_port, .transport = transport };

			*(u16 *)(head.server + 10) = *(u16 *)(head.client + 10) = 0xffff;
			__builtin_memcpy(head.server + 12, &key.remote, 4);
			__builtin_memcpy(head.client + 12, &key.local, 4);
			answered(skb, &head);
		}
		key.flags = in_service4(key.remote) ? FLAG_SERVICE : 0;
		pair = key.flags ? local_port | remote_port << 16 : ports(local_port, remote_port);
		key.local_port = pair;
		key.remote_port = pair >> 16;
		map = bpf_map_lookup_elem(&flows4, &row);
		if (map && add_or_insert(map, &key, &p))
			return PASS;
	} else {
		struct key6 key;

		key.cgroup = cgroup;
		if (connected) {
			key.local[0] = LOAD(sk->src_ip6[0]);
			key.local[1] = LOAD(sk->src_ip6[1]);
			key.local[2] = LOAD(sk->src_ip6[2]);
			key.local[3] = LOAD(sk->src_ip6[3]);
			key.remote[0] = LOAD(sk->dst_ip6[0]);
			key.remote[1] = LOAD(sk->dst_ip6[1]);
			key.remote[2] = LOAD(sk->dst_ip6[2]);
			key.remote[3] = LOAD(sk->dst_ip6[3]);
		} else {
			__builtin_memcpy(key.local, transmitted ? at.source : at.destination, 16);
			__builtin_memcpy(key.remote, transmitted ? at.destination : at.source, 16);
		}
		key.transport = transport;
		key.zero = 0;
		if (!transmitted && UNLIKELY(remote_port == 53)) {
			struct dns_head head = { .cgroup = cgroup, .client_port = local_port, .transport = transport };

			__builtin_memcpy(head.server, key.remote, 16);
			__builtin_memcpy(head.client, key.local, 16);
			answered(skb, &head);
		}
		key.flags = in_service6(key.remote) ? FLAG_SERVICE : 0;
		pair = key.flags ? local_port | remote_port << 16 : ports(local_port, remote_port);
		key.local_port = pair;
		key.remote_port = pair >> 16;
		map = bpf_map_lookup_elem(&flows6, &row);
		if (map && add_or_insert(map, &key, &p))
			return PASS;
	}
	return overflowed(cgroup, &p);
}

SECTION("cgroup_skb/egress") int transmitted(struct __sk_buff *skb)
{
	return count(skb, 1);
}

SECTION("cgroup_skb/ingress") int received(struct __sk_buff *skb)
{
	return count(skb, 0);
}
