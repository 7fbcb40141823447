/*
 * devserver-init [--ssh] [-- COMMAND [ARG ...]]: the first process of a dev server, in any image.
 *
 * It prepares account, environment and home, starts sshd and starts it again when it ends, starts the person's command,
 * collects orphans, and stays when the command ends, so that a person can look at what happened. Another host
 * certificate is taken over while sessions go on. SIGTERM stops everything (stop.c); what has not ended by then ends
 * with the pod. No shell, no libc of the image, no right of any kind.
 *
 * devserver-init --answers SECONDS ends well as soon as sshd answers: Kubernetes calls it right after the start and
 * calls the container running when it is through, a second before the first of any probe could have told.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "devserver.h"

static int sshd_log[2] = {-1, -1};

static pid_t start(char *const argv[], int errors)
{
	pid_t child = fork();
	if (child == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		if (errors >= 0)
			dup2(errors, STDERR_FILENO);
		execvp(argv[0], argv);
		fprintf(stderr, "devserver-init: %s can't be started: %s\n", argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	return child;
}

static pid_t start_sshd(void)
{
	static char *const argv[] = {ROOT "/sbin/sshd", "-D", "-e", "-f", SSHD_CONFIG, NULL};
	if (sshd_config_store() != 0)
		say("the SSH configuration can't be written", strerror(errno));
	return start(argv, sshd_log[1]);
}

static void prepare(void)
{
	const char *shell = image_shell();
	if (environment_store() != 0 || profile_store() != 0)
		say("the environment can't be written", strerror(errno));
	if (account_store(shell) != 0)
		say("/etc/passwd can't be written", strerror(errno));
	home_prepare(shell);
	unlink(COMMAND_STATE);
}

static void drain_log(void)
{
	char block[4096];
	for (ssize_t size; (size = read(sshd_log[0], block, sizeof block)) > 0;)
		sshd_log_append(block, (size_t)size);
}

static int asked_to_end(int signals)
{
	struct signalfd_siginfo info;
	while (read(signals, &info, sizeof info) == sizeof info)
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--answers") == 0)
		return sshd_await(argv[2]);
	int ssh = 0, at = 1;
	for (; at < argc && strcmp(argv[at], "--") != 0; at++)
		ssh |= strcmp(argv[at], "--ssh") == 0;
	char **command = at + 1 < argc ? argv + at + 1 : NULL;

	sigset_t watched;
	sigemptyset(&watched);
	sigaddset(&watched, SIGCHLD);
	sigaddset(&watched, SIGTERM);
	sigaddset(&watched, SIGINT);
	sigprocmask(SIG_BLOCK, &watched, NULL);
	int signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
	umask(022);
	prepare();

	pid_t sshd = 0, child = 0;
	time_t started = time(NULL);
	if (ssh) {
		if (pipe2(sshd_log, O_CLOEXEC) == 0)
			fcntl(sshd_log[0], F_SETFL, O_NONBLOCK);
		host_certificate_changed();
		sshd = start_sshd();
	}
	if (command) {
		command_running();
		child = start(command, -1);
	}

	for (struct pollfd news[] = {{signals, POLLIN, 0}, {sshd_log[0], POLLIN, 0}};;) {
		poll(news, 2, 1000);
		if (asked_to_end(signals))
			break;
		drain_log();
		int status;
		for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
			if (pid == sshd) {
				say("sshd ended and is started again", NULL);
				sshd = -1;
			} else if (pid == child) {
				command_ended(status);
				child = 0;
			}
		}
		if (ssh && host_certificate_changed()) {
			if (sshd_config_store() != 0)
				say("the SSH configuration can't be written", strerror(errno));
			else if (sshd > 0)
				/* It runs itself anew (sshd(8)); who is logged in has a process of their own. */
				kill(sshd, SIGHUP);
		}
		/* At most once a second, whether it just died or could not be started. */
		if (sshd == -1 && time(NULL) != started) {
			started = time(NULL);
			sshd = start_sshd();
		}
	}
	stop_everything();
	/*
	 * Not 0: the kubelet takes a pod that it evicts and whose containers end well for one that is done, and forgets
	 * why it evicted it (kubernetes, pkg/kubelet/kubelet_pods.go, generateAPIPodStatus).
	 */
	return 128 + SIGTERM;
}
