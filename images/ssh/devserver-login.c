/*
 * devserver-login [--login] [-c LINE]: the login shell of every server, whatever its image.
 *
 * It takes up the container's environment and becomes the image's shell, so that a session of sshd, whose own
 * environment is empty, and one of `devctl shell` are the same. A dash before its own name means --login, as for every
 * shell. In an image without a shell it says so.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devserver.h"

int main(int argc, char **argv)
{
	int login = argv[0][0] == '-';
	const char *line = NULL;
	for (int at = 1; at < argc; at++) {
		if (strcmp(argv[at], "--login") == 0)
			login = 1;
		else if (strcmp(argv[at], "-c") == 0 && at + 1 < argc)
			line = argv[++at];
	}
	if (environment_load() != 0)
		fprintf(stderr, "devserver-login: the server's variables are not set: %s\n", strerror(errno));
	const char *shell = image_shell();
	if (!shell) {
		fputs("this server's image has no shell: scp, sftp and port forwarding work, and `devctl exec NAME -- PROGRAM` "
		      "runs a program of it\n", stderr);
		return 127;
	}
	setenv("SHELL", shell, 1);
	char dashed[64];
	const char *name = strrchr(shell, '/') + 1;
	snprintf(dashed, sizeof dashed, "-%s", name);
	if (line && login)
		execl(shell, name, "-l", "-c", line, (char *)NULL);
	else if (line)
		execl(shell, name, "-c", line, (char *)NULL);
	else
		execl(shell, login ? dashed : name, (char *)NULL);
	fprintf(stderr, "the shell %s of this server's image can't be started: %s\n", shell, strerror(errno));
	return 126;
}
