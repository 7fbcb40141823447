/*
 * What a new home has: the image's /etc/skel, or ours where the image has none. Only an empty home is filled, and no
 * file is ever replaced.
 *
 * bash reads ~/.bashrc in a login shell only when ~/.profile (or another of three) says so. So a home that has none
 * of the three gets one, however old it is.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devserver.h"

#define IMAGE_SKEL "/etc/skel"
#define OWN_SKEL ROOT "/etc/skel"

static const char *const profiles[] = {".bash_profile", ".bash_login", ".profile", NULL};

static int empty(const char *folder)
{
	DIR *opened = opendir(folder);
	if (!opened)
		return 0;
	int none = 1;
	for (struct dirent *entry; none && (entry = readdir(opened));)
		/* The last is the file system's. */
		none = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..") || !strcmp(entry->d_name, "lost+found");
	closedir(opened);
	return none;
}

static int exists(const char *folder, const char *name)
{
	char path[PATH_MAX];
	struct stat status;
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return lstat(path, &status) == 0;
}

static int readable(const char *folder, const char *name)
{
	char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return access(path, R_OK) == 0;
}

static int copied(const char *from, const char *to, mode_t mode)
{
	return copy_file(from, to, (mode & 0777) | 0600, O_EXCL | O_NOFOLLOW) == 0 || errno == EEXIST ? 0 : -1;
}

static int copy_skel(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	char to[PATH_MAX], link[PATH_MAX];
	if (walk->level == 0)
		return 0;
	snprintf(to, sizeof to, "%s%s", HOME_FOLDER, path + strlen(IMAGE_SKEL));
	if (kind == FTW_D)
		return mkdir(to, (status->st_mode & 0777) | 0700) != 0 && errno != EEXIST ? -1 : 0;
	if (kind == FTW_F && S_ISREG(status->st_mode) && access(path, R_OK) == 0)
		return copied(path, to, status->st_mode);
	if (kind == FTW_SL) {
		ssize_t size = readlink(path, link, sizeof link - 1);
		link[size > 0 ? size : 0] = 0;
		return size > 0 && symlink(link, to) != 0 && errno != EEXIST ? -1 : 0;
	}
	/* What can't be read and what is no file stays where it is. */
	return 0;
}

static int copy_name(const char *folder, const char *name)
{
	char from[PATH_MAX], to[PATH_MAX];
	snprintf(from, sizeof from, "%s/%s", folder, name);
	snprintf(to, sizeof to, "%s/%s", HOME_FOLDER, name);
	return copied(from, to, 0644);
}

static int add_profile(void)
{
	for (const char *const *name = profiles; *name; name++)
		if (exists(HOME_FOLDER, *name))
			return 0;
	for (const char *const *name = profiles; *name; name++)
		if (readable(IMAGE_SKEL, *name))
			return copy_name(IMAGE_SKEL, *name);
	return copy_name(OWN_SKEL, ".profile");
}

void home_prepare(const char *shell)
{
	int fresh = empty(HOME_FOLDER);
	int well = !fresh || !exists(IMAGE_SKEL, ".") || nftw(IMAGE_SKEL, copy_skel, 16, FTW_PHYS) == 0;
	if (well && is_bash(shell)) {
		well = add_profile() == 0;
		if (well && fresh && !exists(HOME_FOLDER, ".bashrc"))
			well = copy_name(OWN_SKEL, ".bashrc") == 0;
	}
	if (!well)
		say("the home did not get the files of /etc/skel", strerror(errno));
}
