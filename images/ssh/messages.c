/* Messages of devserver-init on standard error; `devctl logs` tells them from the command's output by their prefix. */
#include <stdio.h>

#include "devserver.h"

void say(const char *text, const char *detail)
{
	fprintf(stderr, "devserver-init: %s%s%s\n", text, detail ? ": " : "", detail ? detail : "");
}
