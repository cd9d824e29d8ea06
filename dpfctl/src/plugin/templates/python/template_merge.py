"""Merges values over defaults of the cluster."""

import json

from componentize_py_types import Err
from wit_world.exports import values
from wit_world.exports.plugin import Descriptor
from wit_world.imports.types import Failure, Finding, Severity

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "defaults": {
            "type": "object",
            "description": "Values that hold where neither template nor configuration say something else.",
        }
    },
}


class Plugin:
    def describe(self):
        return Descriptor(
            name="@NAME@",
            version="0.1.0",
            vendor="example.com",
            description="Merges values over defaults of the cluster.",
            annotations=[],
        )

    def settings_schema(self):
        return json.dumps(SCHEMA)

    def validate_settings(self, settings):
        if not isinstance(json.loads(settings).get("defaults", {}), dict):
            raise Err([Finding(Severity.ERROR, "settings", "settings.defaults", "the defaults are not a map")])


class Values:
    def merge(self, request):
        if request.render:
            message = "this plugin renders no templates; leave out dependsOn"
            finding = Finding(
                Severity.ERROR,
                f"DPUServiceConfiguration/{request.service.configuration}",
                "spec.serviceConfiguration.helmChart.values",
                message,
            )
            raise Err(Failure("RenderingNotSupported", message, [finding]))
        merged = json.loads(request.settings).get("defaults", {})
        for layer in (request.template_values, request.configuration_values):
            if layer is not None:
                merged = lay_over(merged, json.loads(layer))
        return values.Response(
            configuration_values=request.configuration_values,
            values=json.dumps(merged),
            findings=[],
            annotations=[],
        )


def lay_over(base, over):
    """Maps merge deep, everything else is replaced."""
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    merged = dict(base)
    for key, value in over.items():
        merged[key] = lay_over(base.get(key), value)
    return merged
