/* devserver-inspect ssh-log|command: prints sshd's log, or what became of the person's command, in any image. */
#include <stdio.h>
#include <string.h>

#include "devserver.h"

static void print(const char *path)
{
	char block[65536];
	FILE *file = fopen(path, "r");
	for (size_t size; file && (size = fread(block, 1, sizeof block, file)) > 0;)
		fwrite(block, 1, size, stdout);
	if (file)
		fclose(file);
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "ssh-log") == 0) {
		print(SSHD_LOG_BEFORE);
		print(SSHD_LOG);
	} else if (argc == 2 && strcmp(argv[1], "command") == 0) {
		print(COMMAND_STATE);
	} else {
		fputs("usage: devserver-inspect ssh-log|command\n", stderr);
		return 2;
	}
	return fflush(stdout) != 0;
}
