"""Every chart has to say which version it needs."""

import json

from componentize_py_types import Err
from wit_world.exports.plugin import Descriptor
from wit_world.imports import log
from wit_world.imports.types import Finding, Severity

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["key"],
    "properties": {
        "key": {
            "type": "string",
            "description": "The version every template must constrain, for example dpu.nvidia.com/doca-version.",
        }
    },
}


class Plugin:
    def describe(self):
        return Descriptor(
            name="@NAME@",
            version="0.1.0",
            vendor="example.com",
            description="Every chart has to say which version it needs.",
            annotations=[],
        )

    def settings_schema(self):
        return json.dumps(SCHEMA)

    def validate_settings(self, settings):
        key = json.loads(settings).get("key")
        if not isinstance(key, str) or not key:
            raise Err([Finding(Severity.ERROR, "settings", "settings.key", "the key is missing or empty")])


class Check:
    def check(self, request):
        key = json.loads(request.settings)["key"]
        findings = []
        for service in request.services:
            if any(name == key for name, _ in service.constraints):
                continue
            findings.append(
                Finding(
                    Severity.ERROR,
                    f"DPUServiceTemplate/{service.template}",
                    "status.versions",
                    f"the chart of service {service.name} does not say which {key} it needs",
                )
            )
        log.write(log.Level.INFO, f"{len(request.services)} services checked")
        return findings
