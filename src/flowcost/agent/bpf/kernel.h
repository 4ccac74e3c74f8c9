/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the kernel's user API that flow.bpf.c needs, written out so that it compiles with
 * clang alone, on any machine, to the same bytes. Layouts and numbers: linux/bpf.h, which never
 * change; both structures are windows the verifier rewrites, so they need no BTF.
 */
#ifndef FLOWCOST_KERNEL_H
#define FLOWCOST_KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct bpf_sock {
	u32 bound_dev_if, family, type, protocol, mark, priority;
	u32 src_ip4, src_ip6[4];
	u32 src_port; /* host order */
	u32 dst_port; /* network order, in the low 16 bits; a 32-bit load works before and since 5.18 */
	u32 dst_ip4, dst_ip6[4];
	u32 state;
};

struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping;
	u32 protocol; /* network order */
	u32 vlan_present, vlan_tci, vlan_proto, priority, ingress_ifindex, ifindex;
	u32 tc_index, cb[5], hash, tc_classid, data, data_end, napi_id;
	u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port;
	u32 data_meta;
	u64 flow_keys, tstamp;
	u32 wire_len, gso_segs;
	struct bpf_sock *sk __attribute__((aligned(8)));
	u32 gso_size;
};

enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
       BPF_MAP_TYPE_RINGBUF = 27 };
enum { BPF_NOEXIST = 1 };
enum { BPF_F_MMAPABLE = 1 << 10 };
enum { BPF_RB_NO_WAKEUP = 1 };

static void *(*const bpf_map_lookup_elem)(const void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value,
					 u64 flags) = (void *)2;
static long (*const bpf_skb_load_bytes)(const struct __sk_buff *skb, u32 offset, void *to,
					u32 size) = (void *)26;
static struct bpf_sock *(*const bpf_sk_fullsock)(struct bpf_sock *sk) = (void *)95;
static u64 (*const bpf_sk_cgroup_id)(struct bpf_sock *sk) = (void *)128;
static void *(*const bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;
static void (*const bpf_ringbuf_discard)(void *data, u64 flags) = (void *)133;

#define SECTION(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline))
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define htons(x) __builtin_bswap16(x)

/* Keeps two loads through one pointer apart: merged into "pointer += offset; load" by clang, the
 * verifier refuses them ("pointer arithmetic on sock prohibited"). */
#define LOAD(field) ({ u32 loaded_ = (field); asm volatile("" : "+r"(loaded_)); loaded_; })

/* Keeps clang from merging two branches into one that adds a variable offset to a map value, which
 * the verifier refuses without CAP_PERFMON. */
#define APART_FROM_OTHER_PATHS(pointer) asm volatile("" : "+r"(pointer))

#endif
