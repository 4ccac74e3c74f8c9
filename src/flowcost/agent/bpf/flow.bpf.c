// SPDX-License-Identifier: Apache-2.0
/*
 * Every packet of every socket below one cgroup, counted as the wire carries it.
 *
 * Two programs, cgroup_skb ingress and egress. The key is read from the socket where it is
 * connected, else from the packet; nothing is kept per socket. skb->data starts at the IP header
 * here, egress runs before segmentation and fragmentation and ingress after reassembly, so both
 * are computed: a packet of n segments carries its headers n times.
 *
 * Flows that the reader has seen go on have a place of their own in an array, which it fills before
 * it is used: one comparison instead of a search. All others are searched for.
 *
 * Counters live in one of two maps of equal shape. User space points `flows4`, `flows6`,
 * `hot` and `overflow` at the other one, waits for running programs (the map update does), and reads a map
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
const volatile u32 first_row SECTION(".rodata") = 0; /* a key that is not on the stack */
const volatile u64 service6[2][4] SECTION(".rodata") = {}; /* the same, in two words each */

#define HASH(key, value) { BPF_MAP_TYPE_HASH, sizeof(key), sizeof(value), 1, 0 }
#define HOT { BPF_MAP_TYPE_ARRAY, 4, sizeof(struct hot), 1 << HOT_BITS, BPF_F_MMAPABLE }
#define ONE_OF_TWO { BPF_MAP_TYPE_ARRAY_OF_MAPS, 4, 4, 1, 0 }

const struct map flows4_a SECTION("maps") = HASH(struct key4, struct counters);
const struct map flows4_b SECTION("maps") = HASH(struct key4, struct counters);
const struct map flows6_a SECTION("maps") = HASH(struct key6, struct counters);
const struct map flows6_b SECTION("maps") = HASH(struct key6, struct counters);
const struct map overflow_a SECTION("maps") = HASH(u64, struct counters);
const struct map overflow_b SECTION("maps") = HASH(u64, struct counters);
const struct map hot_a SECTION("maps") = HOT;
const struct map hot_b SECTION("maps") = HOT;
const struct map flows4 SECTION("maps") = ONE_OF_TWO;
const struct map flows6 SECTION("maps") = ONE_OF_TWO;
const struct map hot SECTION("maps") = ONE_OF_TWO;
const struct map overflow SECTION("maps") = ONE_OF_TWO;
/* Row 0 counts what no map had room for; row 1, in its received packets, lost DNS answers. */
const struct map lost SECTION("maps") = { BPF_MAP_TYPE_ARRAY, 4, sizeof(struct counters), 2, 0 };
/* The reader's own words, kept here because they must die with the maps: eight. */
const struct map ledger SECTION("maps") = { BPF_MAP_TYPE_ARRAY, 4, 64, 1, 0 };
const struct map answers SECTION("maps") = { BPF_MAP_TYPE_RINGBUF, 0, 0, 1, 0 };

/*
 * How much one skb is on the wire: bytes in the low half, packets in the high one. In a register,
 * like all else that lives long here: without CAP_PERFMON the kernel puts a speculation barrier
 * behind every first write to a place on the stack, and they cost more than the counting does.
 */
typedef u64 amount;
#define AMOUNT(bytes, packets) ((u64)(packets) << 32 | (u32)(bytes))

INLINE void add(struct counters *to, amount of, u32 handshake, u32 transmitted)
{
	u64 bytes = (u32)of, packets = of >> 32;

	if (transmitted) {
		APART_FROM_OTHER_PATHS(to);
		__sync_fetch_and_add(&to->transmitted_bytes, bytes);
		__sync_fetch_and_add(&to->transmitted_packets, packets);
		if (UNLIKELY(handshake)) {
			APART_FROM_OTHER_PATHS(to);
			__sync_fetch_and_add(&to->local_handshakes, 1);
		}
	} else {
		APART_FROM_OTHER_PATHS(to);
		__sync_fetch_and_add(&to->received_bytes, bytes);
		__sync_fetch_and_add(&to->received_packets, packets);
		if (UNLIKELY(handshake)) {
			APART_FROM_OTHER_PATHS(to);
			__sync_fetch_and_add(&to->remote_handshakes, 1);
		}
	}
}

INLINE int add_or_insert(void *map, const void *key, amount of, u32 handshake, u32 transmitted)
{
	struct counters *found = bpf_map_lookup_elem(map, key);

	if (UNLIKELY(!found)) {
		struct counters first = {};

		if (transmitted) {
			first.transmitted_bytes = (u32)of;
			first.transmitted_packets = of >> 32;
			first.local_handshakes = handshake;
		} else {
			first.received_bytes = (u32)of;
			first.received_packets = of >> 32;
			first.remote_handshakes = handshake;
		}
		if (!bpf_map_update_elem(map, key, &first, BPF_NOEXIST))
			return 1;
		/* Another CPU was faster, or the map is full. */
		found = bpf_map_lookup_elem(map, key);
		if (!found)
			return 0;
	}
	add(found, of, handshake, transmitted);
	return 1;
}

APART int overflowed(u64 cgroup, amount of, u32 handshake, u32 transmitted)
{
	void *map = bpf_map_lookup_elem(&overflow, (void *)&first_row);
	struct counters *to;

	if (map && add_or_insert(map, &cgroup, of, handshake, transmitted))
		return PASS;
	to = bpf_map_lookup_elem(&lost, (void *)&first_row);
	if (to)
		add(to, of, handshake, transmitted);
	return PASS;
}

/* The port a service listens at is of the lower class: well-known, registered, ephemeral. The
 * other one is dropped, so that connections share a row; of one class, both are kept. */
INLINE u32 class_of(u32 port)
{
	return (port >= 1024) + (port >= 32768);
}

INLINE u64 ports(u32 local, u32 remote)
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

INLINE int in_service6(u64 high, u64 low)
{
#pragma unroll
	for (int i = 0; i < 2; i++)
		if (service6[i][2] && (high & service6[i][2]) == service6[i][0] &&
		    (low & service6[i][3]) == service6[i][1])
			return 1;
	return 0;
}

#define LOCAL_PORT(said) ((u32)(said) & 0xffff)
#define REMOTE_PORT(said) ((u32)(said) >> 16)
#define TRANSPORT(said) ((said) >> 32 & 0xff)
#define HANDSHAKE(said) ((said) >> 40 & 1)
#define MAPPED 0xffff0000ull /* the third word of a v4-mapped address, as it lies in memory */

#include "headers.h"

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

/* Answers a resolver gave to a socket here: copied to the ring, read by the agent's own clock.
 * `key` is the flow's, as far as the addresses. */
APART int answered(const struct __sk_buff *skb, const u64 *key, u64 said, u32 v4)
{
	u32 row = 1, offset, size, present;
	struct counters *dropped;
	struct place at;
	u8 dns[12], tcp_offset;
	struct dns_head record = {
		.cgroup = key[0], .client_port = said, .transport = TRANSPORT(said)
	}, *head = &record;

	if (v4) {
		record.client[1] = (key[1] << 32) | MAPPED;
		record.server[1] = (key[1] >> 32 << 32) | MAPPED;
	} else {
		__builtin_memcpy(record.client, key + 1, 16);
		__builtin_memcpy(record.server, key + 3, 16);
	}
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

/* What a flow's ports and transport are, in one word: local port, remote port (16 bits each, host
 * order), transport (8), and whether this is the first packet of a TCP handshake. */
INLINE u64 say(u32 source, u32 destination, u64 transport, u64 handshake, u32 transmitted)
{
	u32 pair = transmitted ? source | destination << 16 : destination | source << 16;

	return pair | transport << 32 | handshake << 40;
}

/* The same, from any packet; `ends` gets local and remote address, one word for IPv4, else four. */
APART u64 parse(const struct __sk_buff *skb, u64 *ends, u32 v4, u32 transmitted)
{
	struct place at;
	u8 head[4] = {}, flags = 0;

	find_transport(skb, &at);
	if (v4) {
		ends[0] = transmitted ? at.source[0] | (u64)at.destination[0] << 32
				      : at.destination[0] | (u64)at.source[0] << 32;
	} else {
		__builtin_memcpy(ends, transmitted ? at.source : at.destination, 16);
		__builtin_memcpy(ends + 2, transmitted ? at.destination : at.source, 16);
	}
	if (at.first && (at.transport == TCP || at.transport == UDP)) {
		if (!bpf_skb_load_bytes(skb, at.offset, head, 4) && at.transport == TCP)
			bpf_skb_load_bytes(skb, at.offset + 13, &flags, 1);
	}
	return say(head[0] << 8 | head[1], head[2] << 8 | head[3], at.transport,
		   (flags & 0x12) == 0x02, transmitted);
}

/* The same, from a UDP packet without options or fragments, which most without a peer in their
 * socket are; 0 if it is not such a one. */
INLINE u64 parse_datagram(const struct __sk_buff *skb, u64 *ends, const u32 v4, const u32 transmitted)
{
	const u8 *data = (const u8 *)(u64)skb->data, *end = (const u8 *)(u64)skb->data_end;
	const u32 length = v4 ? 20 : 40, near = transmitted ? 0 : 1, far = 1 - near;
	const u16 *head;

	if (data + length + 8 > end)
		return 0;
	if (v4) {
		const u32 *address = (const u32 *)(data + 12);

		if (data[0] != 0x45 || data[9] != UDP || (*(const u16 *)(data + 6) & htons(0x3fff)))
			return 0;
		ends[0] = address[near] | (u64)address[far] << 32;
	} else {
		const u32 *address = (const u32 *)(data + 8);

		if (data[6] != UDP)
			return 0;
		ends[0] = address[near * 4] | (u64)address[near * 4 + 1] << 32;
		ends[1] = address[near * 4 + 2] | (u64)address[near * 4 + 3] << 32;
		ends[2] = address[far * 4] | (u64)address[far * 4 + 1] << 32;
		ends[3] = address[far * 4 + 2] | (u64)address[far * 4 + 3] << 32;
	}
	head = (const u16 *)(data + length);
	return say(htons(head[0]), htons(head[1]), UDP, 0, transmitted);
}

/* The same, from a socket with a peer; the addresses are read by the caller. */
INLINE u64 connected(const struct __sk_buff *skb, struct bpf_sock *sk, u64 transport,
		     const u32 transmitted)
{
	u32 local = LOAD(sk->src_port), remote = htons((u16)LOAD(sk->dst_port));
	u64 handshake = transmitted && transport == TCP && LOAD(sk->state) == SYN_SENT;

	/* The kernel frees the port before it sends the reset of an abortive close. */
	if (UNLIKELY(!local)) {
		u64 unused[4];

		local = (u16)parse(skb, unused, 0, transmitted);
	}
	return local | (u64)remote << 16 | transport << 32 | handshake << 40;
}

INLINE int has_peer(struct bpf_sock *sk, u32 type, u32 transport)
{
	u32 state = LOAD(sk->state);

	/* A control socket that sends resets is raw; a listener has its peer in the packet only. */
	if (type == STREAM)
		return transport == TCP && state != LISTEN;
	return type == DATAGRAM && transport == UDP && state == ESTABLISHED;
}

/* The counters of a flow that has its own place; none if it has not. */
INLINE struct counters *expected(const u64 *key)
{
	void *places = bpf_map_lookup_elem(&hot, (void *)&first_row);
	u32 place = (key[0] * HOT_A + key[1] * HOT_B + key[2] * HOT_C) >> (64 - HOT_BITS);
	struct hot *found = places ? bpf_map_lookup_elem(places, &place) : 0;
	const u64 *its = (const u64 *)found;

	if (!found || its[0] != key[0] || its[1] != key[1] || its[2] != key[2])
		return 0;
	return &found->of;
}

INLINE int count_flow(const struct __sk_buff *skb, void *tables, u64 *key, u64 said, int service,
		      const u32 v4, const u32 transmitted)
{
	amount of = AMOUNT(LOAD(skb->len), 1);
	u32 handshake = HANDSHAKE(said);
	void *map;

	if (!transmitted && UNLIKELY(REMOTE_PORT(said) == 53))
		answered(skb, key, said, v4);
	if (UNLIKELY(LOAD(skb->gso_size) || (u32)of > mtu))
		of = split(skb);
	key[v4 ? 2 : 5] = (service ? (u32)said | (u64)FLAG_SERVICE << 40
				   : ports(LOCAL_PORT(said), REMOTE_PORT(said))) |
			  (u64)TRANSPORT(said) << 32;
	if (v4) {
		struct counters *found = expected(key);

		if (LIKELY(found)) {
			add(found, of, handshake, transmitted);
			return PASS;
		}
	}
	map = bpf_map_lookup_elem(tables, (void *)&first_row);
	if (map && add_or_insert(map, key, of, handshake, transmitted))
		return PASS;
	return overflowed(key[0], of, handshake, transmitted);
}

INLINE int count4(const struct __sk_buff *skb, struct bpf_sock *sk, u32 type, const u32 transmitted)
{
	u32 transport = LOAD(sk->protocol);
	u64 key[3], said;

	key[0] = bpf_sk_cgroup_id(sk);
	if (LIKELY(has_peer(sk, type, transport))) {
		key[1] = LOAD(sk->src_ip4) | (u64)LOAD(sk->dst_ip4) << 32;
		said = connected(skb, sk, transport, transmitted);
	} else {
		said = parse_datagram(skb, key + 1, 1, transmitted);
		if (!said)
			said = parse(skb, key + 1, 1, transmitted);
	}
	return count_flow(skb, (void *)&flows4, key, said, in_service4(key[1] >> 32), 1, transmitted);
}

INLINE int count6(const struct __sk_buff *skb, struct bpf_sock *sk, u32 type, const u32 transmitted)
{
	u32 transport = LOAD(sk->protocol);
	u64 key[6], said;

	key[0] = bpf_sk_cgroup_id(sk);
	if (LIKELY(has_peer(sk, type, transport))) {
		key[1] = LOAD(sk->src_ip6[0]) | (u64)LOAD(sk->src_ip6[1]) << 32;
		key[2] = LOAD(sk->src_ip6[2]) | (u64)LOAD(sk->src_ip6[3]) << 32;
		key[3] = LOAD(sk->dst_ip6[0]) | (u64)LOAD(sk->dst_ip6[1]) << 32;
		key[4] = LOAD(sk->dst_ip6[2]) | (u64)LOAD(sk->dst_ip6[3]) << 32;
		said = connected(skb, sk, transport, transmitted);
	} else {
		said = parse_datagram(skb, key + 1, 0, transmitted);
		if (!said)
			said = parse(skb, key + 1, 0, transmitted);
	}
	return count_flow(skb, (void *)&flows6, key, said, in_service6(key[3], key[4]), 0, transmitted);
}

INLINE int count(struct __sk_buff *skb, const u32 transmitted)
{
	struct bpf_sock *sk;
	u32 type;

	if (UNLIKELY(LOAD(skb->ifindex) == LOOPBACK))
		return PASS; /* never leaves the namespace */
	sk = skb->sk;
	if (UNLIKELY(!sk))
		return PASS;
	sk = bpf_sk_fullsock(sk);
	if (UNLIKELY(!sk))
		return PASS;
	type = LOAD(sk->type);
	/* A raw socket is handed copies of packets that their own socket receives as well. */
	if (!transmitted && UNLIKELY(type == RAW)) {
		u32 transport = LOAD(sk->protocol);

		if (transport == TCP || transport == UDP)
			return PASS;
	}
	if (skb->protocol == htons(IP))
		return count4(skb, sk, type, transmitted);
	return count6(skb, sk, type, transmitted);
}

SECTION("cgroup_skb/egress") int transmitted(struct __sk_buff *skb)
{
	return count(skb, 1);
}

SECTION("cgroup_skb/ingress") int received(struct __sk_buff *skb)
{
	return count(skb, 0);
}
