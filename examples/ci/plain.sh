#!/bin/sh
# Any CI: the catalogue against its JSON Schema by a tool in any language, then our own verbs.
#   pip install 'coordexp-metrics[cli]' jsonschema
set -eu
coordexp-metrics schema catalogue > catalogue.schema.json
python -m jsonschema --instance metrics/catalogue.v1.json catalogue.schema.json
coordexp-metrics check metrics/catalogue.v1.json
coordexp-metrics lint src configs --baseline metrics-baseline.json
coordexp-metrics diff metrics/released.json metrics/catalogue.v1.json --if-kept
