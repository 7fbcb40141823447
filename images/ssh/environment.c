/*
 * The container's environment, kept in a file for the SSH sessions: NUL-separated, so that every value is possible, and
 * for this user only. Its PATH is also kept as a line of shell, for /etc/profile of the image to read.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devserver.h"

extern char **environ;

/* What belongs to one session or one process: the platform, sshd or the shell sets it. */
static int of_session(const char *variable)
{
	static const char *const names[] = {"HOME=", "USER=", "LOGNAME=", "SHELL=", "PWD=", "OLDPWD=", "SHLVL=", "_=", NULL};
	for (const char *const *n = names; *n; n++)
		if (strncmp(variable, *n, strlen(*n)) == 0)
			return 1;
	/* A terminal's own type is better than one that was set for all of them. */
	return strncmp(variable, "TERM=", 5) == 0 && getenv("TERM");
}

int environment_store(void)
{
	int fd = open(ENVIRONMENT ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		return -1;
	for (char **e = environ; *e; e++)
		fwrite(*e, 1, strlen(*e) + 1, file);
	return fclose(file) != 0 || rename(ENVIRONMENT ".new", ENVIRONMENT) != 0 ? -1 : 0;
}

int environment_load(void)
{
	int fd = open(ENVIRONMENT, O_RDONLY | O_CLOEXEC);
	struct stat status;
	char *text = NULL;
	if (fd < 0 || fstat(fd, &status) != 0 || !(text = malloc((size_t)status.st_size + 1)) ||
	    read(fd, text, (size_t)status.st_size) != status.st_size) {
		free(text);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	close(fd);
	text[status.st_size] = 0;
	for (char *variable = text; variable < text + status.st_size; variable += strlen(variable) + 1)
		if (strchr(variable, '=') && !of_session(variable))
			putenv(variable);
	return 0;
}

int profile_store(void)
{
	const char *path = getenv("PATH");
	/* In place, for it is mounted by itself. */
	FILE *file = fopen(PROFILE, "we");
	if (!file)
		return -1;
	fputs("# Written at each start. A login shell's /etc/profile sets PATH anew; this is the image's own again.\n", file);
	if (path) {
		fputs("PATH='", file);
		for (const char *c = path; *c; c++)
			if (*c == '\'')
				fputs("'\\''", file);
			else
				fputc(*c, file);
		fputs("'\nexport PATH\n", file);
	}
	return fclose(file);
}
