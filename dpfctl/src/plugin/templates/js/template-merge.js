// Merges values over defaults of the cluster.

export const plugin = {
  describe() {
    return {
      name: '@NAME@',
      version: '0.1.0',
      vendor: 'example.com',
      description: 'Merges values over defaults of the cluster.',
      annotations: [],
    };
  },

  settingsSchema() {
    return JSON.stringify({
      type: 'object',
      additionalProperties: false,
      properties: {
        defaults: {
          type: 'object',
          description: 'Values that hold where neither template nor configuration say something else.',
        },
      },
    });
  },

  validateSettings(settings) {
    const { defaults = {} } = JSON.parse(settings);
    if (!isMap(defaults)) {
      throw [{ severity: 'error', object: 'settings', field: 'settings.defaults', message: 'the defaults are not a map' }];
    }
  },
};

export const values = {
  merge(request) {
    if (request.render) {
      const message = 'this plugin renders no templates; leave out dependsOn';
      const object = `DPUServiceConfiguration/${request.service.configuration}`;
      const field = 'spec.serviceConfiguration.helmChart.values';
      throw { code: 'RenderingNotSupported', message, findings: [{ severity: 'error', object, field, message }] };
    }
    let { defaults: merged = {} } = JSON.parse(request.settings);
    for (const layer of [request.templateValues, request.configurationValues]) {
      if (layer !== undefined) merged = layOver(merged, JSON.parse(layer));
    }
    return {
      configurationValues: request.configurationValues,
      values: JSON.stringify(merged),
      findings: [],
      annotations: [],
    };
  },
};

function isMap(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

// Maps merge deep, everything else is replaced.
function layOver(base, over) {
  if (!isMap(base) || !isMap(over)) return over;
  const merged = { ...base };
  for (const [key, value] of Object.entries(over)) merged[key] = layOver(base[key], value);
  return merged;
}
