#!/bin/sh
# What is on disk survives a kill, an error and a power loss at every system call (I8); see the program.
exec "${O:-build}/tools/storedrive"
