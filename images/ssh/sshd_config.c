/* sshd's configuration, written at each start and when the host certificate changed. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devserver.h"

#define HOST_KEY "/etc/devservers/host-key/ssh_host_ed25519_key"
#define HOST_CERTIFICATE HOST_KEY "-cert.pub"

/*
 * Whether the host certificate is another one than at the last call: the operator made or renewed it. Kubernetes puts
 * new files in place of a Secret's old ones, all of them at once.
 */
int host_certificate_changed(void)
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
int sshd_config_store(void)
{
	int fd = open(SSHD_CONFIG ".new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
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
	      /* An agent offers its keys one after the other, and nothing can be guessed here. */
	      "MaxAuthTries 100\n"
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
	      /* Without a shell: there may be none, or one that prints and so spoils the protocol. */
	      "Subsystem sftp internal-sftp\n",
	      file);
	/* Made before the CA was, a host key has none until its operator has looked. */
	if (access(HOST_CERTIFICATE, R_OK) == 0)
		fputs("HostCertificate " HOST_CERTIFICATE "\n", file);
	return fclose(file) != 0 || rename(SSHD_CONFIG ".new", SSHD_CONFIG) != 0 ? -1 : 0;
}
