/*
 * devserver-init [--ssh] [-- COMMAND [ARG ...]]: the first process of a dev server, in any image.
 *
 * It starts sshd and starts it again when it ends, starts the person's command, collects orphans, and stays when
 * the command ends, so that a person can look at what happened. Another host certificate is taken over while sessions
 * go on. SIGTERM goes to the command and to every SSH session; what has not ended by then ends with the pod. No
 * shell, no libc of the image, no right of any kind.
 *
 * devserver-init --answers SECONDS ends well as soon as sshd answers: Kubernetes calls it right after the start and
 * calls the container running when it is through, a second before the first of any probe could have told.
 *
 * COMMAND gets the container's environment, and so does every SSH session, by SetEnv lines in a configuration
 * file that only this user can read.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT 2222
#define ROOT "/opt/devservers"
#define KEYS "/etc/devservers/keys"
#define HOST_KEY "/etc/devservers/host-key/ssh_host_ed25519_key"
#define HOST_CERTIFICATE HOST_KEY "-cert.pub"
#define RUN "/run/devservers"
#define CONFIG RUN "/sshd_config"

extern char **environ;
static volatile sig_atomic_t ending;

static void on_term(int number) { (void)number; ending = 1; }

static void say(const char *text, const char *detail)
{
	fprintf(stderr, "devserver-init: %s%s%s\n", text, detail ? ": " : "", detail ? detail : "");
}

/* sshd sets these itself, for each session. */
static int session_owned(const char *line)
{
	static const char *const names[] = {"HOME=", "USER=", "LOGNAME=", "SHELL=", "TERM=", "PWD=", "OLDPWD=", "SHLVL=", "_=", NULL};
	for (const char *const *n = names; *n; n++)
		if (strncmp(line, *n, strlen(*n)) == 0)
			return 1;
	return 0;
}

/* One SetEnv line with every variable: sshd takes the first line only. Quoted as its parser (argv_split) reads it. */
static void write_environment(FILE *file)
{
	int any = 0;
	for (char **e = environ; *e; e++) {
		if (session_owned(*e) || !strchr(*e, '=') || strpbrk(*e, "\n\r"))
			continue;
		fputs(any++ ? " \"" : "SetEnv \"", file);
		for (const char *c = *e; *c; c++) {
			if (*c == '"' || *c == '\\')
				fputc('\\', file);
			fputc(*c, file);
		}
		fputc('"', file);
	}
	if (any)
		fputc('\n', file);
}

/*
 * Whether the host certificate is another one than at the last call: the operator made or renewed it. Kubernetes puts
 * new files in place of a Secret's old ones, all of them at once.
 */
static int certificate_changed(void)
{
	static struct stat known;
	struct stat now;
	if (stat(HOST_CERTIFICATE, &now) != 0)
		memset(&now, 0, sizeof now);
	int changed = now.st_ino != known.st_ino || now.st_mtim.tv_sec != known.st_mtim.tv_sec ||
		      now.st_mtim.tv_nsec != known.st_mtim.tv_nsec;
	known = now;
	return changed;
}

/* Whole or not at all: sshd may be reading it. */
static int write_config(void)
{
	int fd = open(CONFIG ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	if (!file)
		return -1;
	fprintf(file, "Port %d\n", PORT);
	fputs("HostKey " HOST_KEY "\n"
	      "PidFile none\n"
	      "AuthorizedKeysFile " KEYS "/authorized_keys\n"
	      /* The bastion's short certificates; valid for the owner of this server only. */
	      "TrustedUserCAKeys " KEYS "/user_ca.pub\n"
	      "AuthorizedPrincipalsFile " KEYS "/principals\n"
	      /* The keys lie on a read-only volume whose folders Kubernetes makes group-writable. */
	      "StrictModes no\n"
	      "AllowUsers dev\n"
	      "AuthenticationMethods publickey\n"
	      /*
	       * Post-quantum with clients of 9.9 and later. Not sntrup761, the only such method of older ones: its keys
	       * take a quarter of a second of every connection, which lies inside TLS anyway.
	       */
	      "KexAlgorithms mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256\n"
	      "PasswordAuthentication no\n"
	      "KbdInteractiveAuthentication no\n"
	      "AllowAgentForwarding yes\n"
	      "AllowTcpForwarding yes\n"
	      "X11Forwarding no\n"
	      "PrintMotd no\n"
	      /* Kubernetes' probe opens and closes a connection from the node's address, which people come from too. */
	      "PerSourcePenalties no\n"
	      "MaxStartups 100:30:200\n"
	      "MaxSessions 50\n"
	      /* A laptop that went to sleep is let go after three minutes. */
	      "ClientAliveInterval 60\n"
	      "ClientAliveCountMax 3\n"
	      "LogLevel INFO\n"
	      "SshdSessionPath " ROOT "/libexec/sshd-session\n"
	      "SshdAuthPath " ROOT "/libexec/sshd-auth\n"
	      "Subsystem sftp " ROOT "/libexec/sftp-server\n",
	      file);
	/* Made before the CA was, a host key has none until its operator has looked. */
	if (access(HOST_CERTIFICATE, R_OK) == 0)
		fputs("HostCertificate " HOST_CERTIFICATE "\n", file);
	write_environment(file);
	return fclose(file) != 0 || rename(CONFIG ".new", CONFIG) != 0 ? -1 : 0;
}

static pid_t start(char *const argv[])
{
	pid_t child = fork();
	if (child == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		setsid();
		execvp(argv[0], argv);
		fprintf(stderr, "devserver-init: %s can't be started: %s\n", argv[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	return child;
}

static pid_t start_sshd(void)
{
	static char *const argv[] = {ROOT "/sbin/sshd", "-D", "-e", "-f", CONFIG, NULL};
	return start(argv);
}

/* Whether sshd says its first word on this pod's loopback now. */
static int answers(void)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct timeval second = {1, 0};
	char word[4];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
	int yes = connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
		  recv(fd, word, sizeof word, MSG_WAITALL) == sizeof word && memcmp(word, "SSH-", sizeof word) == 0;
	close(fd);
	return yes;
}

static int await_answer(const char *seconds)
{
	struct timespec now, tick = {0, 10 * 1000 * 1000};
	clock_gettime(CLOCK_MONOTONIC, &now);
	for (time_t until = now.tv_sec + atol(seconds); now.tv_sec < until; clock_gettime(CLOCK_MONOTONIC, &now)) {
		if (answers())
			return 0;
		nanosleep(&tick, NULL);
	}
	say("sshd does not answer", NULL);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--answers") == 0)
		return await_answer(argv[2]);
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
	struct sigaction action = {.sa_handler = on_term};
	sigaction(SIGTERM, &action, NULL);
	umask(022);

	pid_t sshd = 0, child = 0;
	if (ssh) {
		certificate_changed();
		if (write_config() != 0)
			say("the SSH configuration can't be written", strerror(errno));
		sshd = start_sshd();
	}
	if (command)
		child = start(command);

	while (!ending) {
		siginfo_t info;
		struct timespec second = {1, 0};
		int number = sigtimedwait(&watched, &info, &second);
		if (number == SIGTERM || number == SIGINT)
			break;
		int status;
		for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
			if (pid == sshd) {
				say("sshd ended and is started again", NULL);
				sshd = -1;
			} else if (pid == child) {
				char text[64];
				snprintf(text, sizeof text, WIFEXITED(status) ? "exit code %d" : "signal %d",
					 WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
				say("the command ended; the server stays", text);
				child = 0;
			}
		}
		if (ssh && certificate_changed()) {
			if (write_config() != 0)
				say("the SSH configuration can't be written", strerror(errno));
			else if (sshd > 0)
				/* It runs itself anew (sshd(8)); who is logged in has a process of their own. */
				kill(sshd, SIGHUP);
		}
		/* At most once a second, whether it just died or could not be started. */
		if (sshd == -1 && number < 0)
			sshd = start_sshd();
	}
	/* Everyone we may signal is this pod's and this user's. */
	kill(-1, SIGTERM);
	struct timespec tick = {0, 50 * 1000 * 1000};
	for (int left = 20 * 25; left > 0; left--) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD)
			return 0;
		nanosleep(&tick, NULL);
	}
	return 0;
}
