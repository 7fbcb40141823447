# ~/.bashrc: read by bash. Yours to change: it was written once, into an empty home.

case $- in
    *i*) ;;
      *) return ;;
esac

PS1='\u@\h:\w\$ '
HISTCONTROL=ignoreboth
shopt -s histappend checkwinsize

if [ -f /usr/share/bash-completion/bash_completion ]; then
    . /usr/share/bash-completion/bash_completion
fi
