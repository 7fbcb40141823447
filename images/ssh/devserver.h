/* What the programs of a dev server share: the places of its files, and the one or two functions of each source. */
#ifndef DEVSERVER_H
#define DEVSERVER_H

#include <stddef.h>
#include <sys/types.h>

#define PORT 2222
#define ROOT "/opt/devservers"
#define LOGIN_PROGRAM ROOT "/bin/devserver-login"
#define KEYS "/etc/devservers/keys"
#define HOME_FOLDER "/home/dev"

/* In memory, for this pod's life. The first three are made by `install` and mounted into /etc by the operator. */
#define RUN "/run/devservers"
#define PASSWD RUN "/passwd"
#define PROFILE RUN "/profile"
#define ENVIRONMENT RUN "/environment"
#define SSHD_CONFIG RUN "/sshd_config"
#define SSHD_LOG RUN "/sshd.log"
#define SSHD_LOG_BEFORE RUN "/sshd.log.1"
#define COMMAND_STATE RUN "/command.json"

void say(const char *text, const char *detail);                         /* messages.c */
int copy_file(const char *from, const char *to, mode_t mode, int flags); /* copy.c */

const char *image_shell(void); /* shell.c */
int is_bash(const char *shell);

int environment_store(void); /* environment.c */
int environment_load(void);
int profile_store(void);

int account_store(const char *shell);    /* account.c */
void home_prepare(const char *shell);    /* home.c */
int host_certificate_changed(void);      /* sshd_config.c */
int sshd_config_store(void);
int sshd_await(const char *seconds);     /* sshd_await.c */
void sshd_log_append(const char *text, size_t size); /* sshd_log.c */

void command_running(void); /* command.c */
void command_ended(int status);

void stop_everything(void); /* stop.c */

#endif
