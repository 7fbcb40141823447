/* What OpenSSH has to know of a dev server's places (internal/paths has all of them). */
#ifndef DEVSERVER_H
#define DEVSERVER_H

#define LOGIN_PROGRAM "/opt/devservers/bin/devserver-login"
#define HOME_FOLDER "/home/dev"

#endif
