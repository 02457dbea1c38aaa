"""Every resource has the properties that Azure publishes; and each kind of mistake is found."""

import os
import tempfile
import unittest
from pathlib import Path

import azure_types
import bicep

INFRA = Path(__file__).parents[1]
CACHE = Path(os.environ["TYPES_CACHE"])
STORAGE = """resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  name: 'st'
  location: 'westeurope'
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: { minimumTlsVersion: 'TLS1_2' }
}
"""


def problems_of(text):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "case.bicep"
        file.write_text(text)
        return azure_types.check([bicep.File(file)], CACHE, azure_types.more_types())[0]


class Tree(unittest.TestCase):
    def test_every_resource_is_of_a_published_type(self):
        files = [bicep.File(path) for path in sorted(INFRA.rglob("*.bicep"))]
        problems, seen = azure_types.check(files, CACHE, azure_types.more_types())
        self.assertEqual(problems, [])
        # A template of another version than the types at hand would be held against the wrong list.
        self.assertEqual({name: known for name, known in seen.items() if name.split("@")[1] != known}, {})
        print(f"\n  types: {len(seen)}, {len(azure_types.more_types())} of them from more-types.json")


class Mistakes(unittest.TestCase):
    def found(self, text, words):
        problems = problems_of(text)
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(words, problems[0])

    def test_the_case_in_order_is_in_order(self):
        self.assertEqual(problems_of(STORAGE), [])

    def test_a_misspelt_property(self):
        self.found(STORAGE.replace("minimumTlsVersion", "minimumTLSVersion"), "`minimumTlsVersion` is")

    def test_a_property_in_the_wrong_place(self):
        self.found(STORAGE.replace("  kind:", "  minimumTlsVersion: 'TLS1_2'\n  kind:"), "minimumTlsVersion is no property")

    def test_a_word_in_the_wrong_case(self):
        self.found(STORAGE.replace("TLS1_2", "tls1_2"), "must be TLS1_0 | TLS1_1 | TLS1_2 | TLS1_3 | string, not `tls1_2`")

    def test_a_value_that_does_not_exist(self):
        self.found(STORAGE.replace("properties: { ", "properties: { accessTier: 'Warm', "), "must be Hot | Cool")

    def test_a_value_of_the_wrong_type(self):
        self.found(STORAGE.replace("properties: { ", "properties: { isHnsEnabled: 'no', "), "must be bool, not `no`")

    def test_a_property_that_is_missing(self):
        self.found(STORAGE.replace("  kind: 'StorageV2'\n", ""), "kind is missing")

    def test_a_property_that_is_read_only(self):
        self.found(STORAGE.replace("properties: { ", "properties: { provisioningState: 'Succeeded', "), "is read-only")

    def test_a_type_that_does_not_exist(self):
        self.found(STORAGE.replace("storageAccounts@", "storageAcounts@"), "Microsoft.Storage/storageAcounts")

    def test_a_kind_that_does_not_exist(self):
        text = "resource s 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {\n  name: 's'\n"
        self.found(text + "  properties: { destination: { endpointType: 'Pigeon' } }\n}\n", "`endpointType`")

    def test_our_own_list_is_as_strict(self):
        text = "resource l 'Microsoft.Authorization/locks@2020-05-01' = {\n  name: 'l'\n  properties: { level: 'CanNotDelete', note: 'x' }\n}\n"
        self.found(text, "properties.note is no property")


if __name__ == "__main__":
    unittest.main()
