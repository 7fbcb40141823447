/* The processes of this pod: all of them, and what tells one kind from another. */
#ifndef PROCESSES_H
#define PROCESSES_H

#include <stddef.h>
#include <sys/types.h>

struct process {
	pid_t pid, session;
	int terminal; /* whether it has one */
	char name[32];
};

size_t process_list(struct process *list, size_t room); /* all but the caller; none that has ended */
int process_read(pid_t pid, struct process *process);
int process_catches_term(pid_t pid);
int process_is_interactive_shell(const struct process *process);
int process_holds_terminals(pid_t pid);

#endif
