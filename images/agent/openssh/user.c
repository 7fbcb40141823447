/*
 * The one account of a dev server, for a static sshd in an image that may have no /etc/passwd and no libc.
 *
 * glibc answers getpwnam() through shared objects that a static program can't load (nsswitch), and sshd refuses
 * every login of a name it can't look up. These definitions come before libc's at link time. The account is
 * always the process's own: sshd runs as the dev user and could not change to another one anyway. Its shell is our own
 * program, which is in every image: sshd refuses an account whose shell isn't there.
 */
#include <grp.h>
#include <pwd.h>
#include <shadow.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "devserver.h"

#define NAME "dev"

static struct passwd *account(void)
{
	static struct passwd dev;
	dev.pw_name = (char *)NAME;
	dev.pw_passwd = (char *)"*";
	dev.pw_uid = geteuid();
	dev.pw_gid = getegid();
	dev.pw_gecos = (char *)"";
	dev.pw_dir = (char *)HOME_FOLDER;
	dev.pw_shell = (char *)LOGIN_PROGRAM;
	return &dev;
}

struct passwd *getpwnam(const char *name) { return strcmp(name, NAME) == 0 ? account() : NULL; }
struct passwd *getpwuid(uid_t uid) { return uid == geteuid() ? account() : NULL; }
/* sshd looks for an account's last day; an image's own nsswitch.conf would load its libc into a program of another. */
struct spwd *getspnam(const char *name) { (void)name; return NULL; }

static struct group *own_group(void)
{
	static char *none[] = {NULL};
	static struct group dev;
	dev.gr_name = (char *)NAME;
	dev.gr_passwd = (char *)"*";
	dev.gr_gid = getegid();
	dev.gr_mem = none;
	return &dev;
}

struct group *getgrnam(const char *name) { return strcmp(name, NAME) == 0 ? own_group() : NULL; }
struct group *getgrgid(gid_t gid) { return gid == getegid() ? own_group() : NULL; }

int getgrouplist(const char *user, gid_t group, gid_t *groups, int *count)
{
	(void)user;
	int room = *count;
	*count = 1;
	if (room < 1)
		return -1;
	groups[0] = group;
	return 1;
}

int initgroups(const char *user, gid_t group) { (void)user; (void)group; return 0; }
