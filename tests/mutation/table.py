"""Which quick tests are about which module: a mutant is asked of these alone, only a survivor of all of them."""

from __future__ import annotations

from typing import Final

_VECTORS: Final = "tests/mutation/killer.py"
ON_LANES: Final = f"{_VECTORS}::test_ends_as_it_must_on_lanes"
"""At first only lanes themselves are asked of it."""
_WORDS, _LIMITS = "tests/unit/bundle/test_mutants.py", "tests/unit/bundle/test_limits.py"
_THRESHOLDS, _REQUIREMENTS = "tests/unit/trust/test_thresholds.py", "tests/unit/trust/test_requirements.py"
_WALKING, _BESIDE = "tests/unit/trust/test_walking.py", "tests/unit/trust/test_countersignatures.py"
_FORM, _REFUSALS, _ROOT = "tests/keyless/test_form.py", "tests/keyless/test_refusals.py", "tests/keyless/test_root.py"
_POLICY, _ROTATION = "tests/keyless/test_policy.py", "tests/keyless/test_rotation.py"
_DELTA, _AGE = "tests/unit/bundler/test_delta.py", "tests/unit/bundle/test_age.py"
_LANES, _PARTS = "tests/unit/bundle/test_lanes.py", "tests/unit/bundle/test_parts.py"
_AHEAD: Final = "tests/unit/bundle/test_ahead.py"
_READING: Final = "tests/unit/bundle/test_bundle_reading.py"
_FILES_BESIDE, _PARTED = "tests/unit/bundle/test_beside.py", "tests/unit/bundle/test_parted_file.py"
_SINKS: Final = "tests/unit/bundle/test_sinks.py"
_FIELDS, _SUBJECT = "tests/unit/bundle/test_fields.py", "tests/keyless/test_subject.py"

# What a hole in would hurt most comes first.
KILLERS: Final[dict[str, tuple[str, ...]]] = {
    "verify": (_WORDS, _READING, _SINKS, _LANES, _VECTORS, _DELTA, _REQUIREMENTS, _AHEAD),
    "trust": (_WORDS, _THRESHOLDS, _REQUIREMENTS, _POLICY, _ROTATION, _VECTORS),
    "roots": (_WALKING, _ROTATION, _VECTORS),
    "rootfile": (_WORDS, _THRESHOLDS, _REQUIREMENTS, _ROOT, _POLICY, _VECTORS),
    "tufroot": (_THRESHOLDS, _WALKING, _POLICY, _VECTORS),
    "signers": (_WORDS, _THRESHOLDS, _REQUIREMENTS, _POLICY, _VECTORS),
    "signature": (_WORDS, _LIMITS, _FORM, _REFUSALS, _VECTORS),
    "sigstorefields": (_LIMITS, _FORM, _VECTORS),
    "archive": (_WORDS, _LIMITS, _READING, _VECTORS, _AHEAD),
    "frames": (_LIMITS, _READING, _VECTORS),
    "strictjson": (_LIMITS, _VECTORS),
    "tarheader": (_LIMITS, _VECTORS),
    "release": (_WORDS, _LIMITS, _VECTORS),
    "packing": (_LIMITS, _SINKS, _VECTORS, _DELTA),
    "digest": (_WORDS, _VECTORS),
    "keyless": (_REFUSALS, _POLICY, _ROTATION),
    "keylessform": (_FORM, _REFUSALS),
    "sigstoreroot": (_ROOT, _REFUSALS, _POLICY),
    "subject": (_SUBJECT, _WORDS, _REFUSALS, _POLICY, _FORM),
    "beside": (_FILES_BESIDE,),
    "parts": (_PARTED,),
    "fields": (_FIELDS, _VECTORS),
    "problems": (_FIELDS, _VECTORS, _ROOT, _THRESHOLDS),
    "paths": (_FIELDS, _VECTORS, _LIMITS),
    "age": (_AGE,),
    "encrypted": (_AGE,),
    "lanes": (_LANES, _VECTORS),
    "ahead": (_AHEAD,),
    "places": (_AHEAD,),
}
MODULES: Final = tuple(KILLERS)
_FURTHER: Final = (_BESIDE, _PARTS)
"""Those that make whole media: asked last, about what survives all others."""
TESTS: Final = tuple(dict.fromkeys(test for tests in (*KILLERS.values(), _FURTHER) for test in tests))
"""The quick ones. Those that alter thousands of bytes, start programs or draw at random would only take longer."""
