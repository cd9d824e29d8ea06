// Connects ports by labels, and adds labels of the cluster.

export const plugin = {
  describe() {
    return {
      name: '@NAME@',
      version: '0.1.0',
      vendor: 'example.com',
      description: 'Connects ports by labels, and adds labels of the cluster.',
      annotations: [],
    };
  },

  settingsSchema() {
    return JSON.stringify({
      type: 'object',
      additionalProperties: false,
      properties: {
        labels: {
          type: 'object',
          additionalProperties: { type: 'string' },
          description: 'Labels every port that names a service selects as well.',
        },
      },
    });
  },

  validateSettings(settings) {
    const { labels = {} } = JSON.parse(settings);
    if (typeof labels !== 'object' || labels === null || Array.isArray(labels)) {
      throw [{ severity: 'error', object: 'settings', field: 'settings.labels', message: 'the labels are not a map' }];
    }
  },
};

export const chain = {
  build(request) {
    const { labels = {} } = JSON.parse(request.settings);
    const findings = [];
    const switches = request.switches.map((networkSwitch, number) => ({
      ports: networkSwitch.ports.flatMap((port) => {
        const { name, interface: networkInterface, matchLabels, ipam } = port.val;
        if (port.tag === 'service-interface') return [{ matchLabels, ipam }];
        const service = request.services.find((it) => it.name === name);
        if (service !== undefined) return [connect(service, networkInterface, ipam, labels)];
        findings.push({
          severity: 'error',
          object: `DPUDeployment/${request.deployment.name}`,
          field: `spec.serviceChains.switches[${number}]`,
          message: `there is no service ${name}`,
        });
        return [];
      }),
      serviceMtu: networkSwitch.serviceMtu,
    }));
    if (findings.length > 0) {
      const message = findings.map((finding) => finding.message).join(', ');
      throw { code: 'PortsUnresolved', message, findings };
    }
    return { switches, findings: [], annotations: [] };
  },
};

// The labels that the interfaces of a service carry, and those of the settings.
function connect(service, networkInterface, ipam, labels) {
  const selected = {
    ...labels,
    'svc.dpu.nvidia.com/service': service.serviceId,
    'svc.dpu.nvidia.com/interface': networkInterface,
  };
  return { matchLabels: Object.entries(selected).sort(), ipam };
}
