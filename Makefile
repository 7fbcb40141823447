# devservers: `make` alone prints what there is.
STACK ?= local
PY := .venv/bin/python
DEPLOY = $(PY) -m infra.deploy $(if $(DEBUG),--debug)
DEVCLUSTER = $(PY) -m devcluster $(if $(DEBUG),--debug)
# Without its bytecode the AWS SDK takes ten seconds to import, each time.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help up down test check bench preview cost inventory prices reference docs reviewed install-crds run pre-commit tier format

help: ## Print this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

env:
	@devcluster/bootstrap.sh $(if $(filter 1,$(SIMULATED))$(filter cost inventory,$(MAKECMDGOALS)),simulated)
.PHONY: env

up: env ## A cluster, the platform on it, a first server (DEMO=0: none; FAKE_GPUS=4: to try the queue; PYTORCH=1: with an image of it, 0: without); STACK=dev: on AWS
	@$(DEPLOY) up --stack $(STACK) $(if $(filter 0,$(DEMO)),--no-demo) $(if $(filter 1,$(YES)),--yes) \
	  $(if $(FAKE_GPUS),--fake-gpus $(FAKE_GPUS)) \
	  $(if $(filter 1,$(PYTORCH)),--pytorch) $(if $(filter 0,$(PYTORCH)),--no-pytorch)

down: env ## Stop the embedded cluster and keep its state (PURGE=1: delete it, homes included); STACK=dev: destroy (DRAIN=0: end no servers first and keep no disks of homes)
	@$(DEPLOY) down --stack $(STACK) $(if $(filter 1,$(PURGE)),--purge) $(if $(filter 1,$(YES)),--yes) \
	  $(if $(filter 0,$(DRAIN)),--no-drain)

preview: env ## What `make up` would change, without changing it (STACK=prod; SIMULATED=1: ask nobody; OUTPUT=summary or json)
	@$(DEPLOY) preview --stack $(STACK) $(if $(filter 1,$(SIMULATED)),--simulated) $(if $(OUTPUT),-o $(OUTPUT))

cost: env ## What an environment costs, and how much more than what is deployed (STACK=prod BASE=REVISION; OUTPUT=markdown or json)
	@$(DEPLOY) cost --stack $(STACK) $(if $(BASE),--base "$(BASE)") $(if $(TARGET),--target "$(TARGET)") \
	  $(if $(OUTPUT),-o $(OUTPUT))

inventory: env ## Write stacks/inventory/*.txt anew: what each stack makes, for review
	@$(DEPLOY) inventory

prices: env ## Write infra/catalog/prices.json anew from the pinned release of Karpenter's list (needs a network)
	@$(DEPLOY) prices

reference: env ## Write docs/reference anew: devctl's commands, the custom resources, the stacks' settings
	@$(PY) -m docs.generate

docs: env ## Build the documentation site into site/; a broken link fails it
	@uv=$$(command -v uv || echo "$${XDG_CACHE_HOME:-$$HOME/.cache}/devservers/uv/bin/uv"); \
	  UV_PROJECT_ENVIRONMENT=.venv-docs "$$uv" sync --quiet --frozen --only-group docs
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet
	@echo "site/index.html"

reviewed: env ## Look anew at what pinned add-ons and charts bring: webhooks, DaemonSets (infra/reviewed)
	@$(PY) -m infra.reviewed

pre-commit: env ## What a commit must pass: lint, format, types, imports, references; no tests
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@$(PY) -m docs.generate --check

check: env ## Lint, types, imports, unit tests; under two minutes
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo
	@.venv/bin/pytest -q -n 2 --dist loadfile tests/unit tests/infra

# Two of the cluster's files run at a time, each process with an API server of its own, the longest first (its conftest.py).
# The restarts take a machine and an API server for themselves: they have a bound in seconds and count every write.
# The bastion's tests mostly wait, so four run at a time; its bursts of a hundred logins take a machine for themselves.
LOGINS := tests/bastion/test_logins.py
RESTARTS := tests/cluster/test_operator_restart.py
LANES := -n 2 --dist loadfile --no-loadscope-reorder
TIERS := "tests/cluster $(LANES) --ignore $(RESTARTS)" $(RESTARTS) "tests/bastion -n 4 --ignore $(LOGINS)" $(LOGINS) tests/node

# Not in the recipe itself: `make -n` runs a line that holds $(MAKE), and with it the tiers.
CHECK = $(MAKE) --no-print-directory check

test: env ## Everything: check, then a real API server, real sshd, a real node with containers
	@$(DEVCLUSTER) packages
	@$(DEVCLUSTER) tools
	@# All of them, so that one run tells all that fails; 2 is Ctrl-C.
	@failed=0; $(CHECK) || failed=$$?; for tier in $(TIERS); do \
	  .venv/bin/pytest -q $$tier || { failed=$$?; [ $$failed -ne 2 ] || break; }; done; exit $$failed

tier: env ## One of the slower tiers by itself (TIER=cluster, bastion or node)
	@$(DEVCLUSTER) packages
	@$(DEVCLUSTER) tools
	@# Some of the bastion's fast tests connect as other users, which the job of `make check` can't.
	@failed=2; for tier in $(TIERS) $(if $(filter bastion,$(TIER)),tests/unit/bastion); do \
	  case "$$tier" in "tests/$(TIER)"|"tests/$(TIER)"[\ /]*|tests/unit/bastion) \
	    [ $$failed -ne 2 ] || failed=0; .venv/bin/pytest -q $$tier || failed=1;; esac; done; \
	  [ $$failed -ne 2 ] || echo "there is no tier '$(TIER)': cluster, bastion or node" >&2; \
	  exit $$failed

bench: env ## The figures as a table, and in .bench/results.json (ONLY=name: one of them)
	@$(DEVCLUSTER) tools
	@$(PY) -m tests.bench $(if $(ONLY),--only $(ONLY))

# The tools' kubectl serves where a person has none of their own.
KUBECTL = $$($(PY) -m devcluster program kubectl) $(if $(CONTEXT),--context "$(CONTEXT)")

install-crds: env ## Apply the CRDs and admission policies to the current context of your kubeconfig (CONTEXT=name: another one)
	@$(KUBECTL) apply --server-side --force-conflicts -f operator/crds

run: install-crds ## Run the operator from this checkout against the same context; an operator in the cluster has to be scaled to 0
	@$(KUBECTL) get namespace devservers-system >/dev/null 2>&1 || $(KUBECTL) create namespace devservers-system
	@DEVSERVERS_LISTEN=127.0.0.1 $(if $(CONTEXT),DEVSERVERS_KUBE_CONTEXT="$(CONTEXT)") exec $(PY) -m devservers.runtime.main

format: env ## Bring the code into the project's format
	@.venv/bin/ruff check --fix -q .
	@.venv/bin/ruff format -q .
