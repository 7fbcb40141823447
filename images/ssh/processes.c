/* What /proc says about the processes of this pod, as far as a stop has to know it. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "processes.h"

/* A file below /proc/PID, as far as it fits; its size, 0 if it can't be read. NUL bytes stay as they are. */
static size_t read_file(pid_t pid, const char *name, char *text, size_t room)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? 0 : read(fd, text, room - 1);
	if (fd >= 0)
		close(fd);
	text[size > 0 ? size : 0] = 0;
	return size > 0 ? (size_t)size : 0;
}

int process_read(pid_t pid, struct process *process)
{
	char text[1024], state = 0;
	int session = 0, terminal = 0;
	if (!read_file(pid, "stat", text, sizeof text))
		return -1;
	/* The name is in parentheses and may hold any character. */
	char *name = strchr(text, '('), *end = strrchr(text, ')');
	if (!name || !end || sscanf(end + 1, " %c %*d %*d %d %d", &state, &session, &terminal) != 3 || strchr("ZX", state))
		return -1;
	*end = 0;
	snprintf(process->name, sizeof process->name, "%s", name + 1);
	process->pid = pid;
	process->session = session;
	process->terminal = terminal != 0;
	return 0;
}

static int signal_in(pid_t pid, const char *field, int number)
{
	char text[4096];
	read_file(pid, "status", text, sizeof text);
	char *found = strstr(text, field);
	return found && (strtoull(found + strlen(field), NULL, 16) >> (number - 1) & 1);
}

int process_catches_term(pid_t pid) { return signal_in(pid, "\nSigCgt:", SIGTERM); }

static int is_shell(const char *name)
{
	static const char *const shells[] = {"bash", "sh", "dash", "ash", "zsh", "fish", "ksh", "mksh", "tcsh", "csh", NULL};
	for (const char *const *shell = shells; *shell; shell++)
		if (strcmp(name, *shell) == 0)
			return 1;
	return 0;
}

/* At its prompt or waiting for what was typed there; not one that runs a script (a word) or a line (-c). */
int process_is_interactive_shell(const struct process *process)
{
	char words[4096];
	if (!process->terminal || !is_shell(process->name))
		return 0;
	size_t size = read_file(process->pid, "cmdline", words, sizeof words);
	for (char *word = words + strlen(words) + 1; word < words + size; word += strlen(word) + 1) {
		if (*word != '-' || (word[1] != '-' && strchr(word, 'c')))
			return 0;
		/* An editor's own start-up file. */
		if (strcmp(word, "--init-file") == 0 || strcmp(word, "--rcfile") == 0 || strcmp(word, "--init-command") == 0)
			word += strlen(word) + 1;
	}
	return 1;
}

/* Whether it has given somebody a terminal, which closes when it ends: tmux, screen, script, an editor's server. */
int process_holds_terminals(pid_t pid)
{
	char path[64], target[256];
	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	DIR *opened = opendir(path);
	int holds = 0;
	for (struct dirent *entry; opened && !holds && (entry = readdir(opened));) {
		ssize_t size = readlinkat(dirfd(opened), entry->d_name, target, sizeof target - 1);
		target[size > 0 ? size : 0] = 0;
		holds = size >= 5 && strcmp(target + size - 5, "/ptmx") == 0;
	}
	if (opened)
		closedir(opened);
	return holds;
}

size_t process_list(struct process *list, size_t room)
{
	DIR *opened = opendir("/proc");
	size_t count = 0;
	for (struct dirent *entry; opened && count < room && (entry = readdir(opened));)
		if (isdigit((unsigned char)entry->d_name[0]) && atoi(entry->d_name) != getpid() &&
		    process_read(atoi(entry->d_name), &list[count]) == 0)
			count++;
	if (opened)
		closedir(opened);
	return count;
}
