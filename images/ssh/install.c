/*
 * install TARGET: copy /opt/devservers into a pod's volume. Static and without a shell, as the image it is in.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOURCE "/opt/devservers"

static const char *target;

static int copy(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)walk;
	char to[PATH_MAX];
	snprintf(to, sizeof to, "%s%s", target, path + strlen(SOURCE));
	if (kind == FTW_D)
		return mkdir(to, 0755) != 0 && errno != EEXIST ? -1 : 0;
	/* A new file under another name: the old one may be running when a container of the pod starts again. */
	char partial[PATH_MAX + 8];
	snprintf(partial, sizeof partial, "%s.new", to);
	int in = open(path, O_RDONLY | O_CLOEXEC);
	int out = open(partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
	if (in < 0 || out < 0)
		return -1;
	for (off_t left = status->st_size; left > 0;) {
		ssize_t sent = sendfile(out, in, NULL, (size_t)left);
		if (sent <= 0)
			return -1;
		left -= sent;
	}
	close(in);
	return close(out) != 0 || rename(partial, to) != 0 ? -1 : 0;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fputs("usage: install TARGET\n", stderr);
		return 2;
	}
	target = argv[1];
	umask(022);
	if (nftw(SOURCE, copy, 16, FTW_PHYS) != 0) {
		fprintf(stderr, "install: %s: %s\n", target, strerror(errno));
		return 1;
	}
	return 0;
}
