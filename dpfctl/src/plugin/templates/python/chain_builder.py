"""Connects ports by labels, and adds labels of the cluster."""

import json

from componentize_py_types import Err
from wit_world.exports import chain
from wit_world.exports.plugin import Descriptor
from wit_world.imports.types import Failure, Finding, Severity

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "labels": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Labels every port that names a service selects as well.",
        }
    },
}


class Plugin:
    def describe(self):
        return Descriptor(
            name="@NAME@",
            version="0.1.0",
            vendor="example.com",
            description="Connects ports by labels, and adds labels of the cluster.",
            annotations=[],
        )

    def settings_schema(self):
        return json.dumps(SCHEMA)

    def validate_settings(self, settings):
        if not isinstance(json.loads(settings).get("labels", {}), dict):
            raise Err([Finding(Severity.ERROR, "settings", "settings.labels", "the labels are not a map")])


class Chain:
    def build(self, request):
        labels = json.loads(request.settings).get("labels", {})
        services = {service.name: service for service in request.services}
        findings = []
        switches = []
        for number, switch in enumerate(request.switches):
            ports = []
            for port in switch.ports:
                if isinstance(port, chain.Port_ServiceInterface):
                    ports.append(chain.ChainPort(port.value.match_labels, port.value.ipam))
                elif port.value.name in services:
                    ports.append(connect(port.value, services[port.value.name], labels))
                else:
                    findings.append(
                        Finding(
                            Severity.ERROR,
                            f"DPUDeployment/{request.deployment.name}",
                            f"spec.serviceChains.switches[{number}]",
                            f"there is no service {port.value.name}",
                        )
                    )
            switches.append(chain.ChainSwitch(ports, switch.service_mtu))
        if findings:
            message = ", ".join(finding.message for finding in findings)
            raise Err(Failure("PortsUnresolved", message, findings))
        return chain.Response(switches=switches, findings=[], annotations=[])


def connect(port, service, labels):
    """The labels that the interfaces of a service carry, and those of the settings."""
    selected = dict(labels)
    selected["svc.dpu.nvidia.com/service"] = service.service_id
    selected["svc.dpu.nvidia.com/interface"] = port.interface
    return chain.ChainPort(sorted(selected.items()), port.ipam)
