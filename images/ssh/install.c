/*
 * install TARGET RUN: copies /opt/devservers into a pod's volume TARGET, and makes the files in the volume RUN that
 * the main container has mounted below /etc: a single file can only be mounted when it is there. Static and without a
 * shell, as the image it is in.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devserver.h"

static const char *target;

static int copy(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)walk;
	char to[PATH_MAX];
	snprintf(to, sizeof to, "%s%s", target, path + strlen(ROOT));
	if (kind == FTW_D)
		return mkdir(to, 0755) != 0 && errno != EEXIST ? -1 : 0;
	/* A new file under another name: the old one may be running when a container of the pod starts again. */
	char partial[PATH_MAX + 8];
	snprintf(partial, sizeof partial, "%s.new", to);
	return copy_file(path, partial, status->st_mode & 0777, O_TRUNC) != 0 || rename(partial, to) != 0 ? -1 : 0;
}

static int make_empty(const char *folder, const char *file)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s%s", folder, file + strlen(RUN));
	int made = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	return made < 0 ? -1 : close(made);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: install TARGET RUN\n", stderr);
		return 2;
	}
	target = argv[1];
	umask(022);
	if (nftw(ROOT, copy, 16, FTW_PHYS) != 0) {
		fprintf(stderr, "install: %s: %s\n", target, strerror(errno));
		return 1;
	}
	if (make_empty(argv[2], PASSWD) != 0 || make_empty(argv[2], PROFILE) != 0) {
		fprintf(stderr, "install: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	return 0;
}
