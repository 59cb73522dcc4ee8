#!/usr/bin/env python3
"""schemas/release.py, on schemas of the test's own: what is released stays as it is. And once on the real ones."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import setting

GARDEN, STATE = "shop.garden.events.v1", "state/garden"
EVOLUTION = setting.ROOT / "tests/codec/evolution"


def run(script, *arguments):
    result = subprocess.run([sys.executable, "-B", str(setting.ROOT / "schemas" / script), *map(str, arguments)],
                            text=True, capture_output=True)
    return result.returncode, result.stdout + result.stderr


class Release(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name) / "history"  # a name that must not confuse anything
        shutil.copytree(EVOLUTION / "v1", self.folder)

    def release(self, *arguments):
        return run("release.py", "--schemas", self.folder, *arguments)

    def succeed(self, *arguments):
        code, output = self.release(*arguments)
        self.assertEqual(code, 0, output)
        return output

    def refuse(self, *arguments, because):
        before = self.files()
        code, output = self.release(*arguments)
        self.assertNotEqual(code, 0, output)
        self.assertIn(because, output)
        self.assertEqual(self.files(), before)

    def files(self):
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def json(self, name):
        return json.loads((self.folder / name).read_text())

    def edit(self, name, old, new):
        path = self.folder / name
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))

    def generates(self):
        return run("avrogen.py", self.folder, pathlib.Path(self.temporary.name) / "gen")

    def test_a_draft_may_be_edited(self):
        self.assertIn("2 drafts", self.succeed("check"))
        self.edit(f"{GARDEN}.avsc", '"rings"', '"years"')
        self.assertIn("2 drafts", self.succeed("check"))
        self.assertEqual(self.generates()[0], 0)

    def test_pin_keeps_a_copy_and_a_fingerprint(self):
        self.succeed("pin", GARDEN)
        self.assertEqual(list(self.json("released.json")), [GARDEN])
        self.assertEqual((self.folder / "history" / GARDEN / "1.avsc").read_bytes(),
                         (EVOLUTION / f"v1/{GARDEN}.avsc").read_bytes())
        self.assertIn("1 drafts: state/garden", self.succeed("check"))
        self.succeed("pin")
        self.assertIn("all are released", self.succeed("check"))
        before = self.files()
        self.succeed("pin")
        self.assertEqual(self.files(), before)

    def test_what_is_released_cannot_be_edited(self):
        self.succeed("pin")
        self.edit(f"{GARDEN}.avsc", '"rings"', '"years"')
        self.refuse("check", because="was edited afterwards")
        self.refuse("pin", because="was edited afterwards")
        code, output = self.generates()
        self.assertNotEqual(code, 0)
        self.assertIn(f"release.py draft {GARDEN}", output)

    def test_nor_can_history(self):
        self.succeed("pin")
        self.succeed("draft", STATE)
        self.edit(f"history/{STATE}/2.avsc", '"motto"', '"device"')
        self.refuse("check", because="version 2 is released, but was edited afterwards")
        (self.folder / f"history/{STATE}/2.avsc").unlink()
        self.refuse("check", because="history/ holds other versions")

    def test_a_doc_can(self):
        self.succeed("pin")
        self.edit(f"{GARDEN}.avsc", "Gone in version 2.", "No more.")
        self.succeed("check")
        self.assertEqual(self.generates()[0], 0)

    def test_draft_gives_the_next_id(self):
        self.refuse("draft", GARDEN, because="is a draft already")
        self.succeed("pin")
        self.succeed("draft", GARDEN, STATE)
        self.assertEqual(self.json("ids.json"), {GARDEN: [1, 3], STATE: [2, 4]})
        self.refuse("draft", GARDEN, because="is a draft already")
        self.refuse("draft", "shop.nothing.v1", because="no such subject")
        self.refuse("pin", "shop.nothing.v1", because="no such subject")

    def test_a_breaking_change_is_refused(self):
        self.succeed("pin")
        self.succeed("draft", STATE)
        self.edit(f"{STATE}.avsc", '"plants", "type": "long"', '"plants", "type": "string"')
        self.refuse("pin", because="version 2 could be read no more: shop.state.v1.StateGarden.plants: was long, is string")
        self.refuse("check", because="could be read no more")
        self.assertNotEqual(self.generates()[0], 0)

    def test_a_record_leaves_a_union_only_by_name(self):
        self.succeed("pin")
        self.succeed("draft", GARDEN)
        shutil.copyfile(EVOLUTION / f"v2/{GARDEN}.avsc", self.folder / f"{GARDEN}.avsc")
        self.refuse("pin", because="shop.garden.v1.PlantFelled: is gone")
        self.refuse("pin", "--retired", "shop.garden.v1.PlantGrown", because="shop.garden.v1.PlantFelled: is gone")
        self.succeed("pin", "--retired", "shop.garden.v1.PlantFelled")
        # The next version misses it no more; what it breaks is still compared with every version.
        self.succeed("draft", GARDEN)
        self.succeed("check")
        self.edit(f"{GARDEN}.avsc", '"default": "grün"', '"doc": "none"')
        self.refuse("pin", because="version 1 could be read no more: shop.garden.v1.PlantGrown.first.colour: is new")

    def test_ids_and_versions_must_go_together(self):
        self.succeed("pin")
        ids = (self.folder / "ids.json").read_text()
        for old, new, because in (("[2]", "[1]", "an id is given twice"), ("[2]", "[0]", "or is none"),
                                  ("[2]", "[]", "do not go together"), ("[2]", "[3]", "do not go together"),
                                  ("[2]", "[3, 2]", "do not go together"), ("[2]", "[2, 3, 4]", "do not go together"),
                                  (STATE, "state/other", "name other subjects")):
            self.assertIn(old, ids)
            (self.folder / "ids.json").write_text(ids.replace(old, new))
            self.refuse("check", because=because)

    def test_a_subject_outside_of_the_log_stays_one_record(self):
        self.succeed("pin")
        self.succeed("draft", STATE)
        self.edit(f"{STATE}.avsc", "StateGarden", "StateOrchard")
        self.refuse("check", because="must be one record, of the same name")


class Repository(unittest.TestCase):
    def test_what_is_released_is_as_it_was(self):
        code, output = run("release.py", "check")
        self.assertEqual(code, 0, output)
        print(output)


if __name__ == "__main__":
    unittest.main()
