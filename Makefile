# The verbs, each a thin line over ansible-playbook, molecule or pytest. `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
# The newest one here that the packages of requirements.txt support; a .venv that exists keeps its own.
PYTHON ?= $(shell tests/find_python.sh 3.14 3.13 3.12 3.11)
VENV := .venv
# The environment with the other Ansible of requirements.in: tests/run.py makes it by its name.
OTHER_VENVS := .venv-ansible12 .venv-ansible14
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo deploy plan test test-fast run build-app run-app bench bench-customers clean lock testbed

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

demo: $(VENV) testbed ## Run everything on one disposable host and show what the customers' hosts answer
	molecule converge --scenario-name demo
	@echo; cat .kube/demo-endpoints.txt
	@echo; echo "The cluster: kubectl --kubeconfig .kube/demo.yaml get pods --all-namespaces. Remove it all: make clean"

deploy: $(VENV) ## Run playbooks/site.yml; ARGS="-i inventory/..." for other hosts
	ansible-playbook playbooks/site.yml $(ARGS)

plan: $(VENV) ## Show what deploy would change, and change nothing
	ansible-playbook playbooks/site.yml --check --diff $(ARGS)

test: $(VENV) testbed ## Run every test, on real Kubernetes too (what CI runs)
	$(BIN)/python tests/run.py --all

test-fast: $(VENV) ## Run the tests that need no container host
	$(BIN)/python tests/run.py

CUSTOMER ?= a
# Others cannot call it unless told: make run ADDRESS=0.0.0.0
ADDRESS ?= 127.0.0.1
run: $(VENV) ## Run one customer's greeter on 127.0.0.1:8080, without Kubernetes: make run CUSTOMER=b
	@cd service && export CUSTOMER_NAME="$(CUSTOMER)" && \
	GREETING="$$(python -c 'import sys, yaml; \
	print(yaml.safe_load(open("../group_vars/all/customers.yml"))["customers"].get(sys.argv[1], {}).get("greeting") \
	or sys.exit(f"customer {sys.argv[1]} has no greeting in group_vars/all/customers.yml"))' "$(CUSTOMER)")" && \
	export GREETING ADDRESS="$(ADDRESS)" && exec python -m greeter

build-app: $(VENV) ## Build the greeter's image into the local store, as localhost/greeter:latest
	ansible-playbook playbooks/build-app.yml $(ARGS)

run-app: $(VENV) ## Run every customer's greeter as a container on this machine, from 127.0.0.1:8080 on
	ansible-playbook playbooks/run-app.yml $(ARGS)

clean: ## Remove every host, container, volume and file that these verbs have made; the caches stay
	@if [ -x $(BIN)/ansible-playbook ]; then ansible-playbook playbooks/remove-app.yml $(ARGS); fi
	@if [ -x $(BIN)/molecule ] && command -v podman >/dev/null; then $(BIN)/molecule destroy --all; fi
	rm -rf $(VENV) $(OTHER_VENVS) .bench .kube .reports .ansible .mypy_cache .pytest_cache .ruff_cache

lock: $(VENV) ## Lock the newest releases of all Python packages
	cd service && uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header requirements.in --output-file requirements.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --constraints service/requirements.txt requirements.in --output-file requirements.txt
	cd bench && uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --constraints ../service/requirements.txt requirements.in --output-file requirements.txt

bench: $(VENV) .bench/venv ## Compare the greeter with peers: requests per second, latency, CPU, memory, start (eight minutes)
	@command -v wrk >/dev/null || { echo "The benchmark needs wrk. On Debian and Ubuntu: apt-get install wrk" >&2; exit 1; }
	$(BIN)/python bench/service.py .bench/venv/bin/python
	LOAD_SECONDS=20 $(BIN)/pytest --quiet service/tests/test_rollout.py

N ?= 10 100
bench-customers: $(VENV) testbed ## Compare a run for many customers with kubectl and plain tasks (five minutes; N="10 100 1000": 25)
	$(BIN)/python -m bench.customers $(N)

.bench/venv: bench/requirements.txt | $(VENV)
	@rm -rf .bench/venv
	$(BIN)/python -m venv .bench/venv
	@.bench/venv/bin/python -m pip install --quiet --require-hashes --requirement bench/requirements.txt || { rm -rf .bench/venv; exit 1; }
	@touch .bench/venv

# Made in one step: a half-made environment never looks like a whole one. Most of Ansible's collections are never used, so
# that Python compiles each file when it is.
$(VENV) $(OTHER_VENVS): requirements.txt
	@python="$(PYTHON)" && test -n "$$python" && \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with make PYTHON=python3.x")' && \
	echo "Installing the controller's Python packages into $@ with $$("$$python" --version) (about a minute, once)" && \
	rm -rf $@ && "$$python" -m venv $@
	@$@/bin/python -m pip install --quiet --quiet --no-compile --require-hashes --requirement requirements.txt || { rm -rf $@; exit 1; }
	@touch $@

# .venv stays as it is when another Python appears, and is made anew for another one that is named on the command line.
ifeq ($(origin PYTHON),command line)
ifneq ($(shell $(PYTHON) --version 2>/dev/null),$(shell $(BIN)/python --version 2>/dev/null))
.PHONY: $(VENV)
endif
endif

testbed:
	@molecule/testbed/packages.sh
