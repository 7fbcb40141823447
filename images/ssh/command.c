/*
 * What became of the person's command, for `devctl describe`: a file that people read by exec with their own rights, so
 * that neither the pod needs a credential nor the operator another right.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "devserver.h"

static void store(const char *what, int number)
{
	char at[sizeof "2026-01-01T00:00:00Z"];
	time_t now = time(NULL);
	struct tm utc;
	strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
	FILE *file = fopen(COMMAND_STATE ".new", "we");
	if (!file)
		return;
	fprintf(file, "{\"at\": \"%s\"", at);
	if (what)
		fprintf(file, ", \"%s\": %d", what, number);
	fputs("}\n", file);
	if (fclose(file) == 0)
		rename(COMMAND_STATE ".new", COMMAND_STATE);
}

void command_running(void) { store(NULL, 0); }

void command_ended(int status)
{
	char text[64];
	if (WIFEXITED(status)) {
		store("exitCode", WEXITSTATUS(status));
		snprintf(text, sizeof text, "exit code %d", WEXITSTATUS(status));
	} else {
		store("signal", WTERMSIG(status));
		snprintf(text, sizeof text, "signal %d", WTERMSIG(status));
	}
	say("the command ended; the server stays", text);
}
