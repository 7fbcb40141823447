/* Copies one file; `flags` are those of open(2) beside O_WRONLY and O_CREAT. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devserver.h"

int copy_file(const char *from, const char *to, mode_t mode, int flags)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return -1;
	int out = open(to, O_WRONLY | O_CREAT | O_CLOEXEC | flags, mode);
	ssize_t sent = -1;
	while (out >= 0 && (sent = sendfile(out, in, NULL, 1 << 20)) > 0)
		;
	close(in);
	return out < 0 || close(out) != 0 || sent < 0 ? -1 : 0;
}
