/* Waits until sshd speaks on this pod's loopback. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "devserver.h"

/* Whether sshd says its first word now. */
static int answers(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct timeval second = {1, 0};
	char word[4];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
	int yes = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
		  recv(fd, word, sizeof word, MSG_WAITALL) == sizeof word && memcmp(word, "SSH-", sizeof word) == 0;
	close(fd);
	return yes;
}

int sshd_await(const char *seconds)
{
	struct timespec now, tick = {0, 10 * 1000 * 1000};
	clock_gettime(CLOCK_MONOTONIC, &now);
	for (time_t until = now.tv_sec + atol(seconds); now.tv_sec < until; clock_gettime(CLOCK_MONOTONIC, &now)) {
		if (answers())
			return 0;
		nanosleep(&tick, NULL);
	}
	say("sshd does not answer", NULL);
	return 1;
}
