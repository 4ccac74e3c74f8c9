// SPDX-License-Identifier: Apache-2.0
// Traffic whose own cost is small: request/response over TCP, over fresh connections, over UDP.
//   server PORT                  serves all three, one client at a time
//   rr|crr|urr|bulk HOST PORT SECONDS [RATE] prints how many transactions (64 KB writes) fitted,
//   RATE a second at most
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 16];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static struct sockaddr_in address(const char *host, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, host, &a.sin_addr);
	return a;
}

static int opened(int type, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, type, 0), one = 1;

	if (type == SOCK_STREAM)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (connect(fd, (const struct sockaddr *)to, sizeof *to))
		perror("connect"), exit(1);
	return fd;
}

static void serve(int port)
{
	struct sockaddr_in a = address("0.0.0.0", port), from;
	int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0), one = 1;

	setsockopt(tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(tcp, (void *)&a, sizeof a) || listen(tcp, 512) || bind(udp, (void *)&a, sizeof a))
		perror("bind"), exit(1);
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct pollfd ready[] = { { tcp, POLLIN, 0 }, { udp, POLLIN, 0 } };

		poll(ready, 2, -1);
		if (ready[1].revents) {
			socklen_t length = sizeof from;
			ssize_t n = recvfrom(udp, buffer, sizeof buffer, 0, (void *)&from, &length);

			sendto(udp, buffer, n, 0, (void *)&from, length);
		}
		if (ready[0].revents) {
			int fd = accept(tcp, 0, 0);
			ssize_t n;

			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
			while ((n = recv(fd, buffer, sizeof buffer, 0)) > 0)
				if (n <= 64)
					send(fd, buffer, n, 0);
			close(fd);
		}
	}
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3)
		serve(atoi(argv[2]));
	struct sockaddr_in to = address(argv[2], atoi(argv[3]));
	int fresh = !strcmp(argv[1], "crr"), bulk = !strcmp(argv[1], "bulk");
	int type = strcmp(argv[1], "urr") ? SOCK_STREAM : SOCK_DGRAM, fd = fresh ? -1 : opened(type, &to);
	double begin = now(), end = begin + atof(argv[4]), rate = argc > 5 ? atof(argv[5]) : 0;
	long done = 0;

	while (now() < end) {
		if (rate && done > rate * (now() - begin)) {
			usleep(500);
			continue;
		}
		if (fresh)
			fd = opened(type, &to);
		if (send(fd, buffer, bulk ? sizeof buffer : 64, 0) < 0 ||
		    (!bulk && recv(fd, buffer, 64, 0) < 0))
			perror("transaction"), exit(1);
		if (fresh)
			close(fd);
		done++;
	}
	printf("%ld\n", done);
	return 0;
}
