#!/bin/sh
# The apply transaction survives a kill, an error and a power loss at every system call (I8); see the program.
exec "${O:-build}/tools/applydrive"
