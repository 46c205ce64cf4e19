#!/usr/bin/python3
"""make check-vm-apparmor: the built packages on a booted Debian with AppArmor, which is its default; tests/vm/apparmor.py checks
them there.  The guest and all else is make check-vm's (tests/vm/vm.t); the report is BUILD/vm/report-apparmor."""
import importlib.machinery
import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
LOADER = importlib.machinery.SourceFileLoader("vm", os.path.join(HERE, "vm.t"))
vm = importlib.util.module_from_spec(importlib.util.spec_from_loader("vm", LOADER))
LOADER.exec_module(vm)

if __name__ == "__main__":
    sys.exit(vm.main("report-apparmor", {"apparmor": 1200}, "apparmor"))
