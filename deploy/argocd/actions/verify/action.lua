local os = require("os") -- Argo CD has no global `os`
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["models.rbee.dev/verifyAt"] = os.date("!%Y-%m-%dT%H:%M:%SZ")
return obj
