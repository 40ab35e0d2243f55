# The commands of a working day. The same ones run by hand and in CI.
.POSIX:
.PHONY: help engines demo test lint

help:
	@echo 'make demo      set up, build, and show an upgrade of a real database on this machine'
	@echo 'make test      set up, build, and run every test, against real engines'
	@echo 'make lint      formatting and clippy, as CI checks them'
	@echo 'make engines   fetch the database engines and make the system accounts, nothing else'

engines:
	@bash .make/setup engines

demo:
	@bash .make/demo

test:
	@bash .make/test

lint:
	@bash .make/lint
