# The commands of a working day. The same ones run by hand and in CI.
.POSIX:
.PHONY: help engines build demo test test-clients torture fuzz bench lint fresh

help:
	@echo 'make demo      set up, build, and show an upgrade of a real database on this machine'
	@echo 'make test      set up, build, and run every test, against real engines'
	@echo 'make test-clients  set up, build, and run every command of the unmodified OpenStack client'
	@echo 'make torture   every kill, and the fault matrix, at every step of an upgrade of real servers (an hour)'
	@echo 'make fuzz      the readers of signatures, parameters and bodies, with 20,000 cases each (PROPTEST_CASES)'
	@echo 'make bench     what requests cost, and how long clients wait for upgrades (a release build, then half an hour)'
	@echo 'make lint      formatting, clippy, documentation, dependencies and scripts, as CI checks them'
	@echo 'make fresh     make demo and make test from a clean clone in a bare Debian 12, as root (FRESH="demo" for one of them)'
	@echo 'make build     set up and build target/debug/coffer'
	@echo 'make engines   fetch the database engines and make the system accounts, nothing else'

engines:
	@bash .make/setup engines

build:
	@bash .make/setup
	cargo build --locked

demo:
	@bash .make/demo

test:
	@bash .make/test

test-clients:
	@bash .make/test-clients

torture:
	@bash .make/test torture

fuzz:
	@bash .make/test fuzz

bench:
	@bash .make/bench

lint:
	@bash .make/lint

fresh:
	@bash .make/fresh $(FRESH)
