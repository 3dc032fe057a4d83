# How this project's own code is compiled: warnings are errors, ccache where there is one,
# sanitizers by EVENTSTORE_SANITIZER, thread-safety analysis under clang.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(eventstore_options INTERFACE)
target_include_directories(eventstore_options INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(eventstore_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror
  -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(eventstore_options INTERFACE -Wthread-safety -Wno-c++20-designator
    # RapidJSON 1.1 compares its iterators as C++20 finds ambiguous.
    -Wno-ambiguous-reversed-operator)
else()
  # gcc 12 reports these falsely inside the standard library at -O2.
  target_compile_options(eventstore_options INTERFACE
    -Wno-restrict -Wno-maybe-uninitialized -Wno-missing-field-initializers)
endif()

if(EVENTSTORE_SANITIZER)
  add_compile_options(-fsanitize=${EVENTSTORE_SANITIZER} -fno-sanitize-recover=all -g)
  add_link_options(-fsanitize=${EVENTSTORE_SANITIZER})
  if(EVENTSTORE_SANITIZER STREQUAL "thread" AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # protobuf's headers would add members to its map fields, which Debian's library does not have;
    # the standard library still is told.
    add_compile_options(-U__SANITIZE_THREAD__ -D_GLIBCXX_TSAN=1)
  endif()
endif()

find_package(Threads REQUIRED)

# Headers that most sources read and that take long to parse are compiled once. Sources include what
# they use all the same: the thread-safety build has this off.
option(EVENTSTORE_PRECOMPILE_HEADERS "Compile the heavy headers once" ON)
if(EVENTSTORE_PRECOMPILE_HEADERS AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # One flag for all, or gcc refuses the compiled headers; and else ccache cannot see into them.
  add_compile_options(-pthread -fpch-preprocess)
endif()

# eventstore_precompiled(NAME LINKS... HEADERS...): an object of its own that holds the compiled
# headers; eventstore_use_precompiled(TARGET NAME) uses them.
function(eventstore_precompiled name)
  cmake_parse_arguments(ARG "" "" "LINKS;HEADERS" ${ARGN})
  if(EVENTSTORE_PRECOMPILE_HEADERS)
    file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc CONTENT "")
    add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
    target_link_libraries(${name} PRIVATE eventstore_options ${ARG_LINKS} Threads::Threads)
    target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
  endif()
endfunction()
function(eventstore_use_precompiled target name)
  if(EVENTSTORE_PRECOMPILE_HEADERS)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()

# eventstore_library(NAME SOURCES... LINKS... [PRECOMPILED NAME]): one room of the server as a static
# library.
function(eventstore_library name)
  cmake_parse_arguments(ARG "" "PRECOMPILED" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE eventstore_options PUBLIC ${ARG_LINKS} Threads::Threads)
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  if(ARG_PRECOMPILED)
    eventstore_use_precompiled(${name} ${ARG_PRECOMPILED})
  endif()
endfunction()
