#!/bin/bash
# Alice's dotfiles: hearth clones them to ~/dotfiles and runs this, in every build. It changes nothing the second time.
set -eu
cd "$(dirname "$0")"
ln -sfn "$PWD/bash_aliases" ~/.bash_aliases
ln -sfn "$PWD/personalize" ~/personalize
