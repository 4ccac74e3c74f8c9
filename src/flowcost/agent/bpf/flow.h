/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel side and the reader share: rows of the maps, settings, DNS records. */
#ifndef FLOWCOST_FLOW_H
#define FLOWCOST_FLOW_H

#include "kernel.h"

struct key4 {
	u64 cgroup;
	u32 local, remote; /* network order */
	u16 local_port, remote_port;
	u8 transport, flags;
	u16 zero;
};

struct key6 {
	u64 cgroup;
	u32 local[4], remote[4]; /* network order */
	u16 local_port, remote_port;
	u8 transport, flags;
	u16 zero;
};

enum { FLAG_SERVICE = 1 };

struct counters {
	u64 transmitted_bytes, transmitted_packets, received_bytes, received_packets;
	u32 local_handshakes, remote_handshakes;
};

/* A flow the reader expects to go on, in a place its key alone tells: one cache line. */
struct hot {
	struct key4 key;
	struct counters of;
};

enum { HOT_BITS = 10 };
#define HOT_A 0x9e3779b97f4a7c15ull
#define HOT_B 0xc2b2ae3d27d4eb4full
#define HOT_C 0x165667b19e3779f9ull

/* A definition the loader reads from the section "maps". The inner maps of the array of maps `x`
 * are `x_a` and `x_b`; sizes of 1 are set at load time. */
struct map {
	u32 type, key_size, value_size, max_entries, flags;
};

enum { DNS_SMALL = 448, DNS_LARGE = 1408 };

struct dns_head {
	u64 cgroup;
	u64 server[2], client[2]; /* 16 bytes each, network order, IPv4 mapped */
	u16 client_port;
	u8 transport, zero;
	u16 size;    /* of the message */
	u16 present; /* of it, in this record */
};

#endif
