// Every chart has to say which version it needs.

import { write } from 'dpf:plugin/log@1.0.0';

export const plugin = {
  describe() {
    return {
      name: '@NAME@',
      version: '0.1.0',
      vendor: 'example.com',
      description: 'Every chart has to say which version it needs.',
      annotations: [],
    };
  },

  settingsSchema() {
    return JSON.stringify({
      type: 'object',
      additionalProperties: false,
      required: ['key'],
      properties: {
        key: {
          type: 'string',
          description: 'The version every template must constrain, for example dpu.nvidia.com/doca-version.',
        },
      },
    });
  },

  validateSettings(settings) {
    const { key } = JSON.parse(settings);
    if (typeof key !== 'string' || key === '') {
      throw [{ severity: 'error', object: 'settings', field: 'settings.key', message: 'the key is missing or empty' }];
    }
  },
};

export const check = {
  check(request) {
    const { key } = JSON.parse(request.settings);
    const findings = request.services
      .filter((service) => !service.constraints.some(([name]) => name === key))
      .map((service) => ({
        severity: 'error',
        object: `DPUServiceTemplate/${service.template}`,
        field: 'status.versions',
        message: `the chart of service ${service.name} does not say which ${key} it needs`,
      }));
    write('info', `${request.services.length} services checked`);
    return findings;
  },
};
