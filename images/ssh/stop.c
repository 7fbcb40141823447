/*
 * Stops all processes of a server so that each gets to hear SIGTERM before its terminal closes.
 *
 * SIGTERM goes to every program at once. What holds terminals (sshd, tmux, an editor's server) is told when the
 * programs have gone or the time is over: a terminal that closes sends SIGHUP, which ends most programs before they
 * have saved anything. A shell that waits for a program, or a line of several programs, is told as soon as the
 * programs of its session have gone, so that it starts no further one.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "devserver.h"
#include "processes.h"

#define MAX_PROCESSES 16384
#define PROGRAMS_SECONDS 25 /* of the pod's 30 */
#define TERMINALS_SECONDS 2

enum kind { PROGRAM, SHELL, LEADER, HOLDER };

struct known {
	pid_t pid;
	enum kind kind;
	int told;
};

static struct process list[MAX_PROCESSES];
static struct known known[MAX_PROCESSES];
static size_t listed, known_count;

static int alone_in_session(const struct process *process)
{
	for (size_t i = 0; i < listed; i++)
		if (list[i].session == process->session && list[i].pid != process->pid)
			return 0;
	return 1;
}

static enum kind kind_of(const struct process *process)
{
	if (strncmp(process->name, "sshd", 4) == 0 || process_holds_terminals(process->pid))
		return HOLDER;
	if (process_is_interactive_shell(process))
		return SHELL;
	/* Its end is the end of its terminal, so one that would just end comes after those it has started. */
	if (process->pid == process->session && process->terminal && !alone_in_session(process) &&
	    !process_catches_term(process->pid))
		return LEADER;
	return PROGRAM;
}

static struct known *find(const struct process *process)
{
	for (size_t i = 0; i < known_count; i++)
		if (known[i].pid == process->pid)
			return &known[i];
	if (known_count == MAX_PROCESSES)
		return &known[MAX_PROCESSES - 1];
	known[known_count] = (struct known){process->pid, kind_of(process), 0};
	return &known[known_count++];
}

static void tell(struct known *one, int number)
{
	one->told = 1;
	kill(one->pid, number);
}

/* Whether a program of this session that was told is still there. */
static int awaited_in(pid_t session)
{
	for (size_t i = 0; i < listed; i++) {
		struct known *one = list[i].session == session ? find(&list[i]) : NULL;
		if (one && one->kind == PROGRAM && one->told)
			return 1;
	}
	return 0;
}

static void look(void)
{
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	listed = process_list(list, MAX_PROCESSES);
}

static int over(const struct timespec *since, int seconds)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - since->tv_sec - (now.tv_nsec < since->tv_nsec) >= seconds;
}

void stop_everything(void)
{
	struct timespec began, tick = {0, 50 * 1000 * 1000};
	clock_gettime(CLOCK_MONOTONIC, &began);
	look();
	for (size_t i = 0; i < listed; i++)
		if (find(&list[i])->kind == PROGRAM)
			tell(find(&list[i]), SIGTERM);
	/* What a program starts while it ends is part of its ending: it is waited for and not told. */
	for (int left = 1; left && !over(&began, PROGRAMS_SECONDS);) {
		left = 0;
		for (size_t i = 0; i < listed; i++) {
			struct known *one = find(&list[i]);
			left += one->kind == PROGRAM;
			if ((one->kind == SHELL || one->kind == LEADER) && !one->told && !awaited_in(list[i].session))
				/* Interactive shells don't listen to SIGTERM. */
				tell(one, one->kind == SHELL ? SIGHUP : SIGTERM);
		}
		if (left) {
			nanosleep(&tick, NULL);
			look();
		}
	}
	clock_gettime(CLOCK_MONOTONIC, &began);
	for (size_t i = 0; i < listed; i++)
		tell(find(&list[i]), find(&list[i])->kind == SHELL ? SIGHUP : SIGTERM);
	for (look(); listed && !over(&began, TERMINALS_SECONDS); look())
		nanosleep(&tick, NULL);
}
