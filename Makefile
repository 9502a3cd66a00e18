# k3s in Swift. `make run` and `make test` install what they need (Debian 12, as root); the Swift toolchain must be there.
SWIFT ?= swift
# Fully static, non-PIE, for size, unused and equal code dropped: docs/footprint.md says what each saves.
# Exclusive access is checked in debug builds, in which all unit tests run: here the checks cost size and 1 % of a request.
# Functions that run at rest lie together (hack/text-order), so that few pages of the program stay in memory.
ORDER := $(CURDIR)/bin/functions.txt
RELEASE := -c release --static-swift-stdlib -Xswiftc -static-executable -Xswiftc -Osize \
	-Xswiftc -enforce-exclusivity=unchecked -Xlinker --gc-sections \
	-Xlinker --icf=all -Xlinker --wrap=_swift_stdlib_getScalarName -Xswiftc -Xfrontend -Xswiftc -function-sections -Xlinker --section-ordering-file=$(ORDER) \
	-Xcc -DK3S_STATIC_LINK -Xswiftc -use-ld=$(CURDIR)/bin/unretained-ld

.PHONY: armv7 arm64 armv7-test arm64-test sanitize text-order build run test unit e2e bench fuzz lint generate clean deps deps-arm deps-test

build: deps bin/k3s-commit $(ORDER) bin/unretained-ld
	$(SWIFT) build $(RELEASE) --product k3s
	@mkdir -p bin
	@# Unwind tables are for exceptions and backtraces in the process; there are neither. (gold keeps them, lld does not.)
	@objcopy -S -R .comment -R .eh_frame -R .eh_frame_hdr .build/release/k3s bin/k3s.new && mv bin/k3s.new bin/k3s
	@ls -l bin/k3s

$(ORDER): hack/text-order/functions.txt.gz
	@mkdir -p bin
	@gzip -dc $< >$@

bin/unretained-ld: hack/link/unretained-ld.c | deps
	@mkdir -p bin
	@clang -O2 -o $@ $<

# After larger changes: which functions run when, by running them (root, five minutes).
text-order: build deps-test
	hack/e2e.sh --collect-only -q >/dev/null
	.test/venv/bin/python hack/text-order/trace.py .build/release/k3s

# The commit goes into `k3s --version`; the header is only written when it changes, so that nothing is compiled again.
bin/k3s-commit: FORCE
	@hack/write-commit.sh Sources/CShims/k3s_commit.h
FORCE:

# Static binaries for ARM, bin/k3s-armv7 and bin/k3s-arm64. The first time this makes a Swift SDK of Debian's packages:
# half an hour and 8 GB for armv7, a few minutes for arm64 (root; hack/arm/sdk.sh).
armv7 arm64: deps deps-arm
	hack/arm/build.sh $@

# A whole node in an emulated ARMv7 machine of 128 MB, driven by kubectl.
armv7-test: armv7 deps-test
	hack/e2e.sh -k test_armv7 --timeout 1200

# The unit tests for ARM under qemu-user: a build of its own, and tests at a tenth of their speed.
arm64-test: deps deps-arm
	hack/arm/test.sh arm64

# The unit tests with the thread and the address sanitizer, two further builds.
sanitize: deps-test
	hack/sanitize.sh thread
	hack/sanitize.sh address

run: build
	hack/run.sh

test: build lint unit e2e

unit: deps-test
	$(SWIFT) build --build-tests
	hack/unit.sh

e2e: deps-test
	hack/e2e.sh

bench: build deps-test
	RELEASE="$(RELEASE)" hack/bench.sh

# Coverage-guided fuzzing of every decoder, SECONDS each: make fuzz SECONDS=60 [TARGETS="json tar"]
SECONDS ?= 60
fuzz: deps
	SECONDS_EACH=$(SECONDS) hack/fuzz.sh $(TARGETS)

lint:
	hack/lint.sh

# The schema table, from Debian's packages of the Kubernetes API types.
generate:
	hack/gen-schema/generate.sh

deps:
	@hack/deps.sh build
deps-arm:
	@hack/deps.sh arm
deps-test:
	@hack/deps.sh build test

clean:
	rm -rf .build bin .test
