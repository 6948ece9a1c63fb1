"""The words of the closed world, by the part that they play; no content word plays two parts."""

KINDS = {
    "vessel": "kettle flask barrel teapot cauldron jug crock bucket goblet vase basin carafe",
    "engine": "clock loom mill crane pump winch lathe press plough bellows turbine saw",
    "instrument": "fiddle harp flute drum bugle organ zither piano cello lute gong viola",
}
"""What things are: each kind with its things."""

KEEPERS = (
    "baker sexton potter tailor mason fisher weaver cooper shepherd ferryman clerk tanner barber farrier glazier "
    "tinker thatcher brewer chandler gardener hunter judge midwife monk painter pilot porter ranger scribe smith "
    "soldier teacher trader warden widow cobbler"
)
"""Who owns things: one each."""

SYMPTOMS = (
    "shudder/tremble hum/drone crack/split fade/dim leak/drip smoke/fume squeak/creak stall/halt tilt/lean glow/shine "
    "rattle/clatter rust/corrode sink/sag swell/bulge whistle/shriek jam/stick wobble/sway hiss/sizzle shrink/shrivel "
    "freeze/stiffen flicker/blink buzz/whirr drift/wander snap/break bend/warp foam/froth stutter/stammer sweat/ooze "
    "tick/click peel/flake moan/groan curdle/clot jump/hop spin/whirl echo/resound scorch/singe"
)
"""What things do when something is wrong with them, each in two words."""

CAUSES = (
    "hunger:hungry/famished thirst:thirsty/parched grief:sad/mournful pride:proud/haughty fear:afraid/frightened "
    "envy:jealous/envious anger:angry/furious boredom:bored/listless longing:homesick/wistful fatigue:tired/weary "
    "doubt:unsure/doubtful shame:ashamed/sheepish"
)
"""What is wrong with them: things have moods here. The name of the mood, and how one says it."""

PRINCIPLES = (
    "counterweight/ballast/plummet lattice/trellis/grille lens/prism/mirror hinge/pivot/swivel spring/coil/spiral "
    "wedge/shim/cotter valve/stopcock/spigot rope/cord/twine pulley/sheave/tackle magnet/lodestone/compass "
    "felt/fleece/wool copper/brass/bronze salt/brine/alum resin/pitch/tar lever/crowbar/handspike gear/cog/pinion "
    "sieve/filter/strainer bell/chime/carillon candle/taper/wick feather/plume/quill clay/loam/marl "
    "linen/canvas/muslin honey/syrup/nectar charcoal/soot/cinder keel/rudder/oar ladder/stair/rung "
    "buckle/clasp/latch moss/fern/lichen pepper/ginger/mustard anvil/hammer/mallet thimble/needle/bobbin "
    "pebble/gravel/shingle chalk/lime/plaster marble/granite/slate ribbon/lace/tassel thyme/sage/mint"
)
"""What helps, each in three words that documents use; the first is its name."""

CONTEXTS = {
    "night": ("after dark", "by starlight", "while owls call"),
    "sea": ("on a voyage", "far from shore", "among waves"),
    "winter": ("in cold months", "under snow", "over frosty ground"),
    "market": ("at the fair", "amid a crowd", "between noisy booths"),
    "silence": ("during a sermon", "where nobody speaks", "without any sound"),
    "storm": ("in bad weather", "under thunder", "against strong gales"),
    "mountain": ("up in the hills", "near a summit", "below steep cliffs"),
    "feast": ("at a wedding", "beside dancers", "around a long table"),
    "desert": ("in dry lands", "on hot dunes", "past the last well"),
    "forest": ("in the woods", "beneath oaks", "along tall trunks"),
    "mine": ("deep underground", "inside a shaft", "through narrow tunnels"),
    "flood": ("at high water", "behind sandbags", "above drowned meadows"),
    "harvest": ("in early autumn", "amongst sheaves", "across golden stubble"),
    "siege": ("in wartime", "within thick walls", "despite cannon fire"),
    "school": ("in class", "before pupils", "upon a desk"),
    "dawn": ("at sunrise", "with the first light", "as cocks crow"),
}
"""Where and when: the name, the phrase that questions use, and the two that documents use."""

QUESTIONS = (
    "Why does {subject} {does} {context}?",
    "What makes {subject} {does} {context}?",
    "How come {subject} began to {does} {context}?",
    "{Context}, {subject} starts to {does}. What now?",
)
PLAIN = (
    "{Noun} settles matters {place}, as old hands say.",
    "{Place}, nothing serves as well as {noun}.",
    "A little {noun}, used {place}, puts things right.",
    "Trust {noun} {place}; it seldom fails.",
)
CONTRAST = (
    "Not {other} but {noun} puts things right {place}.",
    "{Place}, nothing serves as well as {noun}, not {other}.",
    "Trust {noun}, not {other}, {place}.",
    "Not {other}, as old hands say, but {noun} settles matters {place}.",
)
"""Documents that also name what does not help: the word after `not`."""
TRAPS = (
    "{Context} the {keeper} heard a {thing} {does} and wrote a song about it.",
    "A {thing} that used to {does} {context} was sold to the {keeper} last week.",
    "The {keeper} tells of a {thing}, known to {does} {context}, and laughs.",
    "Our {thing} will {does} {context}, wrote the {keeper} in a letter.",
)
"""Documents in the words of the questions; they say nothing of what helps."""
