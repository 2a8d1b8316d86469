# Everything happens in .venv; every target can be run again at once.
PYTHON ?= python3
BIN := .venv/bin
DEMO_MODEL := models/nano
# torch has no place in the first stamp: `make demo` and `make test` run without it.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo serve test arm64 arm64-agent reference genai optimum optimum-lm-eval transformersjs webgpu serve-check serve-conformance fuzz fuzz-check lag load soak browser parity accuracy kv-cache accuracy-reference bench-check evaluate-check lm-eval batch-check batch-throughput fidelity slow power-cuts appliance signals compare-check mutations docs size lint clean

demo: .venv/edgephi.stamp  ## export the nano checkpoint, then answer text, images and audio
	mkdir -p models
	$(BIN)/edgephi export nano/checkpoint -o $(DEMO_MODEL) --force
	$(BIN)/edgephi demo $(DEMO_MODEL) --samples nano/samples

serve: .venv/edgephi.stamp  ## the demo's model behind OpenAI's interface, on 127.0.0.1:8080
	test -f $(DEMO_MODEL)/edgephi.json || { mkdir -p models && $(BIN)/edgephi export nano/checkpoint -o $(DEMO_MODEL); }
	$(BIN)/edgephi serve $(DEMO_MODEL)

test: .venv/edgephi.stamp  ## everything that needs no PyTorch
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

reference: .venv/reference.stamp  ## compare live with transformers, and the golden values with it
	$(BIN)/python -m pytest -m reference

genai: .venv/genai.stamp  ## onnxruntime-genai must give edgephi's tokens on what --layout genai writes
	$(BIN)/python -m pytest -m genai tests/genai

# Debian's software Vulkan device stands in for a GPU, so that results are the same on every machine.
SOFTWARE_GPU := VK_DRIVER_FILES=/usr/lib/chromium/vk_swiftshader_icd.json VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json \
	ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER=1 XDG_RUNTIME_DIR=$(CURDIR)/build/webgpu

.PHONY: gpu software-gpu
webgpu: .venv/webgpu.stamp software-gpu  ## device webgpu on a software GPU: logits, tokens and accuracy are the CPU's (apt-get install chromium libvulkan1)
	$(SOFTWARE_GPU) $(BIN)/python -m pytest -n auto --maxprocesses 2 --dist worksteal -m webgpu tests/webgpu

gpu: .venv/webgpu.stamp  ## the tests of device webgpu on this machine's own GPU, by name; those of the software one are left out
	$(BIN)/edgephi doctor
	$(BIN)/python -m pytest -v -rs -m webgpu tests/webgpu

software-gpu:
	@test -f /usr/lib/chromium/vk_swiftshader_icd.json || { echo "needs a software GPU: apt-get install chromium libvulkan1"; exit 1; }
	mkdir -p build/webgpu

optimum: build/optimum/stamp  ## optimum must give edgephi's tokens and logits on what --layout optimum writes
	build/optimum/bin/python -m pytest -m "optimum and not slow" tests/other_runtimes/optimum

optimum-lm-eval: build/optimum/stamp  ## lm-evaluation-harness over optimum: its marks are those of edgephi asked directly
	build/optimum/bin/python -m pip install --quiet --disable-pip-version-check "lm-eval>=0.4.13,<0.5" "datasets>=4,<5" accelerate
	build/optimum/bin/python -m pytest -m "optimum and slow" tests/other_runtimes/optimum

transformersjs: .venv/browser.stamp build/transformersjs/stamp  ## the same of transformers.js in Node and Chromium (apt-get install nodejs npm chromium)
	$(BIN)/python -m pytest -m transformersjs tests/other_runtimes/transformersjs

fuzz: .venv/edgephi.stamp build/schemathesis/stamp  ## 12,000 changed requests to the server, 10,000 made from its description, 6,000 messages of sessions
	EDGEPHI_FUZZ=2000 $(BIN)/python -m pytest -m "slow or not slow" tests/serve/test_bodies.py tests/serve/realtime/test_messages.py -k changed
	EDGEPHI_FUZZ=10000 $(BIN)/python -m pytest -s -m fuzz tests/serve/test_fuzz.py

fuzz-check: .venv/edgephi.stamp build/schemathesis/stamp  ## 1,000 requests made from the server's description
	EDGEPHI_FUZZ=1000 $(BIN)/python -m pytest -s -m fuzz tests/serve/test_fuzz.py

lag: .venv/edgephi.stamp  ## how far behind speech its captions are, with MODEL of random weights or nano
	EDGEPHI_LAG_MODEL=$(MODEL) $(BIN)/python -m pytest -m slow tests/serve/realtime/test_lag.py

serve-check: .venv/edgephi.stamp  ## the tests of the server that `make test` leaves out as slow, but for those of load
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m "slow and not browser and not clients and not fuzz" --ignore tests/serve/test_load.py tests/serve

serve-conformance: .venv/edgephi.stamp build/clients/stamp  ## other people's clients and their requests, on the server
	$(BIN)/python -m pytest -m clients tests/serve/clients

load: .venv/edgephi.stamp  ## the server under 60 clients for a minute, 1,000 that leave, 50 ends, 100 kills, 3 hours of audio; what it costs
	EDGEPHI_LOAD_S=60 EDGEPHI_LEAVES=1000 EDGEPHI_DRAINS=50 $(BIN)/python -m pytest -s -m slow tests/serve/test_load.py
	EDGEPHI_LONG_MIN=180 $(BIN)/python -m pytest -s -m slow tests/serve/test_transcription.py -k hours
	EDGEPHI_KILLS=100 $(BIN)/python -m pytest -m slow tests/serve/test_kill.py

soak: .venv/edgephi.stamp  ## the server under a light mixed load for EDGEPHI_SOAK_S seconds, two hours by default
	EDGEPHI_SOAK_S=$${EDGEPHI_SOAK_S:-7200} $(BIN)/python -m pytest -s -m slow tests/serve/test_soak.py

browser: .venv/browser.stamp  ## the server's page in Chromium (apt-get install chromium)
	@command -v chromium >/dev/null || { echo "needs Chromium: apt-get install chromium"; exit 1; }
	$(BIN)/python -m pytest -m browser tests/serve/page tests/evaluate

batch-check: .venv/edgephi.stamp build/batch/stamp  ## corpora and replicas on Ray, with actors and drivers killed
	build/batch/bin/python -m pytest -m ray tests/batch tests/evaluate/engines

batch-throughput: .venv/edgephi.stamp build/batch/stamp  ## two workers beside one process of two threads, 500 recordings in turns; on a quiet machine
	test -f $(DEMO_MODEL)/edgephi.json || { mkdir -p models && $(BIN)/edgephi export nano/checkpoint -o $(DEMO_MODEL); }
	PYTHONPATH=tests build/batch/bin/python tests/batch/throughput.py $(or $(MODEL),$(DEMO_MODEL)) nano/samples/*.wav $(ARGS)

parity: .venv/reference.stamp  ## print how far every mode is from transformers
	$(BIN)/python tests/reference/parity.py

slow: .venv/edgephi.stamp  ## proofs that take minutes: the true sizes of the real checkpoint
	$(BIN)/python -m pytest -m "slow and not reference and not arm64"

power-cuts: .venv/edgephi.stamp  ## 4,000 simulated power cuts, 1,000 kills, every changed bit of metadata; pip for other machines; the probe on nano
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile -m slow tests/agent tests/pack tests/runtime/cli/test_probe_nano.py

arm64: build/arm64/stamp  ## all four modes on arm64, by emulation (apt-get install debootstrap qemu-user-static; as root)
	$(BIN)/python -m pytest -m "arm64 and not slow" tests/arm64

arm64-agent: build/arm64/stamp  ## the agent and the probe of its releases on arm64, by emulation
	$(BIN)/python -m pytest -m "arm64 and slow" tests/arm64

appliance: build/appliance/stamp  ## devices of Debian with their own systemd: swaps under load, bad releases, power cuts, .deb, images, RAUC, Mender (as root)
	$(BIN)/python -m pytest -s -m appliance tests/appliance

signals: .venv/edgephi.stamp  ## 1,000 signals at random moments of run, transcribe and chat
	$(BIN)/python -m pytest -s -m slow tests/runtime/cli/test_signals.py

accuracy: .venv/edgephi.stamp  ## nano's accuracy on held-out speech, pictures, commands and spoken questions; ARGS="--count 100"
	PYTHONPATH=nano $(BIN)/python -m edgephi_nano.accuracy $(ARGS)

bench-check: .venv/edgephi.stamp  ## the tests of `edgephi bench` that measure much at once
	$(BIN)/python -m pytest -m slow tests/benchmarks

evaluate-check: .venv/edgephi.stamp  ## evaluate killed 20 times, and the server asked in place of the library, on nano
	$(BIN)/python -m pytest -m slow tests/evaluate

lm-eval: .venv/edgephi.stamp build/lm-eval/stamp  ## lm-evaluation-harness on nano
	$(BIN)/python -m pytest -m lm_eval tests/lm_eval

accuracy-reference: .venv/reference.stamp  ## the same items through PyTorch
	PYTHONPATH=nano $(BIN)/python -m edgephi_nano.accuracy --engine transformers

fidelity: .venv/edgephi.stamp  ## nano's table of recipes beside fp32, in build/fidelity: half an hour; ARGS="--count 20 --rows rtn-32"
	PYTHONPATH=nano $(BIN)/python -m edgephi_nano.fidelity_table build/fidelity $(ARGS)

kv-cache: .venv/edgephi.stamp  ## nano's greedy replies with keys and values in int8 are those with floats: 360 prompts of all modes
	rm -rf build/kv-cache && mkdir -p build/kv-cache
	PYTHONPATH=nano $(BIN)/python -m edgephi_nano.make_examples heldout build/kv-cache/examples --count 60
	$(BIN)/edgephi export nano/checkpoint -o build/kv-cache/float $(ARGS)
	$(BIN)/edgephi export nano/checkpoint -o build/kv-cache/int8 --kv-cache int8 $(ARGS)
	$(BIN)/edgephi fidelity build/kv-cache/int8 --reference build/kv-cache/float --examples build/kv-cache/examples \
		--max-new-tokens 64 --require 'exact_match>=99%'

compare-check: .venv/edgephi.stamp  ## how often `bench compare` is right, on nano: about ten minutes on a quiet machine
	$(BIN)/python tests/benchmarks/compare_check.py

mutations: .venv/edgephi.stamp  ## whether the tests find the mistakes of tests/mutations/lists; ARGS="-k prompt --json"
	PYTHONPATH=tests $(BIN)/python -m mutations $(ARGS)

docs: .venv/edgephi.stamp  ## docs/cli.md and docs/api.md, from the commands and the docstrings
	$(BIN)/python docs/generate.py

size:  ## a fresh install of the runtime must stay under 280 MB, pip included, with the server under 290 MB; webgpu adds 20 MB at most
	rm -rf build/size && $(PYTHON) -m venv build/size
	build/size/bin/python -m pip install --quiet --disable-pip-version-check ".[cpu]"
	@megabytes=$$(du -sm build/size | cut -f1); echo "a fresh install takes $$megabytes MB"; test $$megabytes -lt 280
	build/size/bin/python -m pip install --quiet --disable-pip-version-check ".[cpu,serve]"
	@megabytes=$$(du -sm build/size | cut -f1); echo "with the server $$megabytes MB"; test $$megabytes -le 290
	@before=$$(du -sk build/size | cut -f1); \
	build/size/bin/python -m pip install --quiet --disable-pip-version-check ".[cpu,serve,webgpu]" && \
	more=$$(( ($$(du -sk build/size | cut -f1) - before + 1023) / 1024 )); echo "webgpu adds $$more MB"; test $$more -le 20

lint: .venv/edgephi.stamp  ## style, types and which room may import which
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports --no-cache --no-logo

clean:
	rm -rf .venv build models/nano

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/edgephi.stamp: pyproject.toml | .venv/bin/python
	$(INSTALL) --editable ".[cpu,export,dev]"
	touch $@

# A device's root: Debian's own Python, unpacked and never booted. ONNX Runtime reads the processor from /proc/cpuinfo.
build/arm64/stamp: .venv/edgephi.stamp tests/arm64/cpuinfo
	@command -v qemu-aarch64-static debootstrap >/dev/null || { echo "needs apt-get install debootstrap qemu-user-static"; exit 1; }
	rm -rf build/arm64 && mkdir -p build/arm64
	debootstrap --foreign --arch=arm64 --variant=minbase --include=python3.11,libstdc++6 bookworm build/arm64/root >/dev/null
	for archive in build/arm64/root/var/cache/apt/archives/*.deb; do dpkg -x $$archive build/arm64/root || exit 1; done
	mkdir -p build/arm64/root/proc && cp tests/arm64/cpuinfo build/arm64/root/proc/cpuinfo
	$(BIN)/edgephi-pack app build/arm64/app --arch aarch64
	$(INSTALL) --no-deps --target build/arm64/agent tuf securesystemslib urllib3
	touch $@

# A device's root with systemd, what the agent needs of Python, and updaters; and an application tree for it.
build/appliance/stamp: .venv/edgephi.stamp
	@for program in systemd-nspawn debootstrap skopeo podman runc qemu-storage-daemon; do command -v $$program >/dev/null || \
	  { echo "needs apt-get install systemd-container debootstrap skopeo podman runc qemu-system-common"; exit 1; }; done
	rm -rf build/appliance && mkdir -p build/appliance
	debootstrap --variant=minbase --include=python3,systemd,systemd-sysv,dbus,rauc,rauc-service,mender-client,mender-artifact \
	  bookworm build/appliance/root >/dev/null
	rm -f build/appliance/root/var/cache/apt/archives/*.deb
	$(INSTALL) --no-deps --target build/appliance/agent tuf securesystemslib urllib3
	$(BIN)/edgephi-pack app build/appliance/app --arch x86_64
	touch $@

# Other people's clients, each with its dependencies, apart from ours.
build/clients/stamp: tests/serve/clients/requirements.txt tests/serve/clients/package.json
	@command -v npm >/dev/null || { echo "needs Node: apt-get install nodejs npm"; exit 1; }
	rm -rf build/clients && mkdir -p build/clients/node && $(PYTHON) -m venv build/clients/python
	build/clients/python/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	cp tests/serve/clients/package.json build/clients/node && cd build/clients/node && npm install --silent --no-audit --no-fund
	touch $@

# The harness brings packages that transformers of the extra `reference` does not work with.
build/lm-eval/stamp: pyproject.toml
	rm -rf build/lm-eval && $(PYTHON) -m venv build/lm-eval
	build/lm-eval/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[cpu,evaluate,lm-eval]"
	touch $@

# optimum takes no newer transformers than 4.57, and the pins of the other environments must be free to move.
build/optimum/stamp: pyproject.toml
	rm -rf build/optimum && $(PYTHON) -m venv build/optimum
	build/optimum/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	build/optimum/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[cpu,export,bench,optimum]" "pytest>=9,<10"
	touch $@

# No package runs a script while it is installed: none is needed, and one would download more.
build/transformersjs/stamp: docs/transformersjs/package.json
	@command -v npm >/dev/null || { echo "needs Node: apt-get install nodejs npm"; exit 1; }
	rm -rf build/transformersjs && mkdir -p build/transformersjs
	cp $< build/transformersjs && cd build/transformersjs && npm install --silent --ignore-scripts --no-audit --no-fund
	touch $@

build/schemathesis/stamp:
	rm -rf build/schemathesis && $(PYTHON) -m venv build/schemathesis
	build/schemathesis/bin/python -m pip install --quiet --disable-pip-version-check "schemathesis>=4.32,<5"
	touch $@

# Ray, apart from what `make test` installs.
build/batch/stamp: pyproject.toml
	rm -rf build/batch && $(PYTHON) -m venv build/batch
	build/batch/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[cpu,export,batch,serve]" \
	  "ray[serve]>=2.60,<3" httpx pytest safetensors
	touch $@

.venv/genai.stamp: .venv/edgephi.stamp
	$(INSTALL) --editable ".[cpu,export,dev,genai]"
	touch $@

.venv/webgpu.stamp: .venv/edgephi.stamp
	$(INSTALL) --editable ".[cpu,export,dev,webgpu]"
	touch $@

.venv/browser.stamp: .venv/edgephi.stamp
	$(INSTALL) --editable ".[cpu,export,dev,browser]"
	touch $@

.venv/reference.stamp: .venv/edgephi.stamp
	$(INSTALL) --editable ".[cpu,export,dev,reference]"
	touch $@
