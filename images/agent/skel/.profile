# ~/.profile: read by login shells. Yours to change: it was written once, because there was none.

if [ -n "$BASH_VERSION" ] && [ -f "$HOME/.bashrc" ]; then
    . "$HOME/.bashrc"
fi
