"""A vendor plugin of the stage version-check, in Python: services that must not share a DPU.

Every service of a DPUDeployment runs on all of its DPUs, so two that exclude each other cannot be in one deployment. Which those
are is a matter of the site, and so a setting.
"""

import json

from componentize_py_types import Err
from wit_world.exports.plugin import Descriptor
from wit_world.imports import log
from wit_world.imports.types import Failure, Finding, Severity

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["conflicts"],
    "properties": {
        "conflicts": {
            "type": "array",
            "description": "Groups of services of which a deployment may have one.",
            "items": {
                "type": "array",
                "minItems": 2,
                "items": {"type": "string", "description": "Key of a service in spec.services."},
            },
        }
    },
}


class Plugin:
    def describe(self):
        return Descriptor(
            name="conflicts",
            version="0.1.0",
            vendor="example.com",
            description="Services that must not share a DPU.",
            annotations=[],
        )

    def settings_schema(self):
        return json.dumps(SCHEMA)

    def validate_settings(self, settings):
        findings = list(problems(json.loads(settings)))
        if findings:
            raise Err(findings)


class Check:
    def check(self, request):
        groups = json.loads(request.settings)["conflicts"]
        # What runs beside the host shares no DPU.
        present = [service.name for service in request.services if not service.in_cluster]
        if len(set(present)) != len(present):
            finding = error(request, "the request names a service twice")
            raise Err(Failure("ServicesAmbiguous", finding.message, [finding]))
        findings = []
        for group in groups:
            together = sorted(name for name in present if name in group)
            if len(together) > 1:
                findings.append(
                    error(request, f"{' and '.join(together)} must not share a DPU: put them into deployments with other DPUs")
                )
        log.write(log.Level.DEBUG, f"{len(groups)} groups checked")
        return findings


def problems(settings):
    conflicts = settings.get("conflicts")
    if not isinstance(conflicts, list):
        yield setting("conflicts", "conflicts is not a list of groups")
        return
    for index, group in enumerate(conflicts):
        names = isinstance(group, list) and all(isinstance(name, str) for name in group)
        if not names or len(set(group)) < 2:
            yield setting(f"conflicts[{index}]", "a group is a list of two or more services")


def setting(field, message):
    return Finding(Severity.ERROR, "settings", f"settings.{field}", message)


def error(request, message):
    return Finding(Severity.ERROR, f"DPUDeployment/{request.deployment.name}", "spec.services", message)
