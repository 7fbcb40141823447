/* The shell that an image has: bash if there is one, else sh, else none. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devserver.h"

/* The program in one of the folders of `path`, a list as in PATH; the empty parts of such a list are not looked at. */
static const char *look(const char *path, const char *name)
{
	static char found[PATH_MAX];
	while (*path) {
		size_t size = strcspn(path, ":");
		if (*path == '/' && (size_t)snprintf(found, sizeof found, "%.*s/%s", (int)size, path, name) < sizeof found &&
		    access(found, X_OK) == 0)
			return found;
		path += size + (path[size] == ':');
	}
	return NULL;
}

const char *image_shell(void)
{
	static const char usual[] = "/bin:/usr/bin:/usr/local/bin";
	const char *own = getenv("PATH") ? getenv("PATH") : "";
	const char *found = look(usual, "bash");
	if (!found)
		found = look(own, "bash");
	if (!found)
		found = look(usual, "sh");
	return found ? found : look(own, "sh");
}

int is_bash(const char *shell)
{
	const char *name = shell ? strrchr(shell, '/') : NULL;
	return name && strcmp(name + 1, "bash") == 0;
}
