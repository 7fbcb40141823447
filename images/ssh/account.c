/* /etc/passwd of a server: the operator's, with the shell that the image has. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devserver.h"

int account_store(const char *shell)
{
	FILE *from = fopen(KEYS "/passwd", "re");
	/* In place, for it is mounted by itself. */
	FILE *to = fopen(PASSWD, "we");
	char *line = NULL;
	size_t room = 0;
	while (from && to && getline(&line, &room, from) > 0) {
		char *last = strrchr(line, ':');
		if (strncmp(line, "dev:", 4) == 0 && last)
			fprintf(to, "%.*s:%s\n", (int)(last - line), line, shell ? shell : LOGIN_PROGRAM);
		else
			fputs(line, to);
	}
	free(line);
	int well = from && to;
	if (from)
		fclose(from);
	return (to && fclose(to) != 0) || !well ? -1 : 0;
}
